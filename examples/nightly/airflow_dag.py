"""A night as a DAG of Apache Airflow 3, or of 2.10 and later.

The night runs in an environment of its own, which Airflow's workers only start. The exit code decides: a failure is
tried again and goes on from where it stopped; a wrong configuration or a refused version is not, for it would come out
the same; a night that finds another under way is skipped.
"""

from __future__ import annotations

import datetime
import subprocess

try:
    from airflow.sdk import dag, task
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

PROGRAM = "/opt/catalog-indexer/.venv/bin/catalog-indexer"
CONFIG = "/etc/catalog-indexer/nightly.yaml"
COMMAND = [PROGRAM, "nightly", "--config", CONFIG, "--json"]


@dag(
    schedule="30 1 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["catalog"],
)
def catalog_nightly() -> None:
    # Longer than the lease of the lock: a try on another machine waits until a lost one cannot hold it any more.
    @task(retries=3, retry_delay=datetime.timedelta(minutes=20), execution_timeout=datetime.timedelta(hours=12))
    def night() -> str:
        """Runs a night; returns its JSON."""
        # A task that Airflow ends takes the night along, which gives the lock back.
        process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
        try:
            out, _ = process.communicate()
        finally:
            process.terminate()
            process.wait()
        said = out.strip().splitlines()[-1] if out.strip() else ""
        if process.returncode == 0:
            return said
        if process.returncode == 4:
            raise AirflowSkipException("another night is under way")
        if process.returncode in (2, 3):
            raise AirflowFailException(f"exit code {process.returncode}, not worth another try: {said}")
        raise AirflowException(f"exit code {process.returncode}: {said}")

    night()


catalog_nightly()
