"""`make restore-test`: the trial of backup and restore (deploy/restore_trial.py) on a cluster of its own."""

import signal
import sys

from deploy.backups import BackupFailed
from deploy.cluster import running
from deploy.failover.environment import (
    PLAIN,
    of_the_site,
)  # before chaos/, and before Django is set up
from deploy.members import NotStarted
from deploy.packages import MissingPackages
from deploy.restoring import NoRestore


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    import django

    from deploy.restore_trial import Trial

    django.setup()
    try:
        with running(PLAIN, of_the_site(PLAIN)) as cluster:
            trial = Trial(cluster)
            trial.play()
    except (NotStarted, MissingPackages, NoRestore, BackupFailed) as exc:
        sys.exit(str(exc))
    print(f"FAILED: {trial.wrong} things are wrong." if trial.wrong else "All is well.")
    sys.exit(1 if trial.wrong else 0)


if __name__ == "__main__":
    main()
