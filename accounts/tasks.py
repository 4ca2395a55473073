from django.utils import timezone
from knox.models import AuthToken
from procrastinate.contrib.django import app

EVERY_NIGHT = "17 3 * * *"


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_expired_tokens")
def forget_expired_tokens(timestamp: int) -> None:
    AuthToken.objects.filter(expiry__lt=timezone.now()).delete()
