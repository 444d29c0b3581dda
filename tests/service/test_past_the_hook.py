"""Jobs that came in while the hook was away."""

from slurm_power.ports import JobState
from tests.service.cluster import Cluster
from tests.service.spec import Spec


def test_a_preference_is_dropped_at_the_binding() -> None:
    """Slurm follows --prefer in place of the features that bind the job."""
    cluster = Cluster()
    spec = Spec(comment="power:est=5kW,zones=rack03")
    record = cluster.slurm.submit(runs_s=600, prefer="pw_rack01", **spec.fields())
    cluster.specs[record.job_id] = spec
    for _ in range(4):
        cluster.round()
        cluster.advance(2)
        cluster.check()
    job = cluster.slurm.job(record.job_id)
    assert (job.state, job.node_list) == (JobState.RUNNING, "n07")
