import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.db import migrations, models

import concerts.folding

# NFKD takes accents off their letters and makes plain letters of full-width ones. `unaccent` removes the
# accents, and knows what has no accent to take off, such as ø. Full case folding makes `ss` of `ß`.
#
# unaccent() is not immutable, because its rules may change with a new version of PostgreSQL. A body that is
# no string keeps the objects that its names mean now, so a dump of the database can be restored.
FOLDED = """
CREATE FUNCTION concerts_folded(text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN casefold(unaccent('unaccent'::regdictionary, normalize($1, NFKD)) COLLATE pg_catalog.pg_unicode_fast)
"""


class Migration(migrations.Migration):
    """Search without accents and case, by an index.

    Both extensions are trusted: the owner of the database may create them. If the role is not the owner, create
    them before as somebody who is. They stay if this is undone, because they may have been there before.
    """

    dependencies = [("concerts", "0007_time_zone")]

    operations = [
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS unaccent", migrations.RunSQL.noop),
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS pg_trgm", migrations.RunSQL.noop),
        migrations.RunSQL(FOLDED, "DROP FUNCTION concerts_folded(text)"),
        migrations.AddField(
            model_name="concert",
            name="search_text",
            field=models.GeneratedField(
                db_persist=True,
                expression=concerts.folding.Folded(
                    django.db.models.functions.text.Concat(
                        "name", models.Value("\n"), "artist", models.Value("\n"), "venue"
                    )
                ),
                output_field=models.TextField(),
            ),
        ),
        migrations.AddIndex(
            model_name="concert",
            index=django.contrib.postgres.indexes.GinIndex(
                fields=["search_text"], name="concert_search_text", opclasses=["gin_trgm_ops"]
            ),
        ),
    ]
