from django.db.models import Func, TextField


class Folded(Func):
    """A text as it is searched: without accents and case, and in plain letters (`ß` is `ss`).

    The database does it, by the function that migration 0008_search makes.
    """

    function = "concerts_folded"
    output_field = TextField()
    arity = 1
