# One image for the web server and the worker; docker-compose.yml says which is which.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 ticketbook
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

COPY . .
# The key signs nothing here; without one, Django would make one and keep it in the image.
RUN SECRET_KEY=only-to-collect-static-files python manage.py collectstatic --no-input
USER ticketbook
EXPOSE 8000
CMD ["python", "-m", "gunicorn", "ticketbook.asgi"]
