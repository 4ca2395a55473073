"""A form of a page as a browser reads it and sends it back."""

from html.parser import HTMLParser

NOT_SENT = {"submit", "button", "image", "reset", "file"}


class Form(HTMLParser):
    def __init__(self, form_id):
        super().__init__()
        self.form_id, self.fields, self.inside = form_id, {}, False
        self.name, self.text = None, None  # of the select or the textarea that is being read

    def send(self, name, value):
        self.fields.setdefault(name, []).append(value or "")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.inside = attributes.get("id") == self.form_id
        name = attributes.get("name")
        if not self.inside or "disabled" in attributes:
            return
        if tag == "input" and name and (kind := attributes.get("type", "text")) not in NOT_SENT:
            if kind not in {"checkbox", "radio"} or "checked" in attributes:
                self.send(name, attributes.get("value", "on" if kind == "checkbox" else ""))
        elif tag == "select":
            self.name = name
        elif tag == "option" and "selected" in attributes:
            self.send(self.name, attributes["value"])
        elif tag == "textarea":
            self.name, self.text = name, ""

    def handle_data(self, data):
        if self.text is not None:
            self.text += data

    def handle_endtag(self, tag):
        if tag == "textarea" and self.text is not None:
            # The first end of line is not part of the text, and browsers send all others as CRLF.
            lines = self.text.removeprefix("\r").removeprefix("\n").splitlines()
            self.send(self.name, "\r\n".join(lines))
            self.name = self.text = None
        elif tag == "form":
            self.inside = False


def form_of(response, form_id):
    """The fields that a browser would send if its user pressed Save now."""
    assert response.status_code == 200
    form = Form(form_id)
    form.feed(response.content.decode())
    assert form.fields, f"no form {form_id}"
    return form.fields
