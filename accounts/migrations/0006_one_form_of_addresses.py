from django.db import migrations


class Migration(migrations.Migration):
    """Give addresses their one form (accounts/email_field.py), unless another account has it.

    An account whose address stays as it is can be reached by its tokens and by staff.
    """

    dependencies = [("accounts", "0005_attempts")]

    operations = [
        migrations.RunSQL(
            """
            UPDATE accounts_user old SET email = lower(normalize(email, NFKC))
            WHERE email IS NOT NFKC NORMALIZED AND length(normalize(email, NFKC)) <= 254 AND NOT EXISTS (
                SELECT FROM accounts_user other
                WHERE other.id <> old.id AND (other.email IS NFKC NORMALIZED OR other.id < old.id)
                    AND lower(normalize(other.email, NFKC)) = lower(normalize(old.email, NFKC))
            )
            """,
            migrations.RunSQL.noop,
        ),
    ]
