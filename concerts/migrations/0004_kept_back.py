import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('concerts', '0003_tier_vacuum'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='tickettier',
            name='tier_available_within_total',
        ),
        migrations.AddField(
            model_name='tickettier',
            name='kept_back',
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddConstraint(
            model_name='tickettier',
            constraint=models.CheckConstraint(condition=models.Q(('kept_back__gte', 0)), name='tier_kept_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='tickettier',
            constraint=models.CheckConstraint(condition=models.Q(('available_quantity__lte', django.db.models.expressions.CombinedExpression(models.F('total_quantity'), '-', models.F('kept_back')))), name='tier_available_within_total', violation_error_message='No more tickets can be available than the tier has.'),
        ),
    ]
