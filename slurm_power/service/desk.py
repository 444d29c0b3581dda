"""What all use cases share: site, ledger, floor, book, clock, mode. Made by the daemon; holds no logic of its own."""

import logging
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from secrets import token_bytes

from slurm_power.config import Site
from slurm_power.core.claim import Claim
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.policy import Mode, Scope, Tier
from slurm_power.core.request import Request
from slurm_power.core.reservation import Reservation, WhenShort
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.steps import Steps, finish
from slurm_power.ports import Clock, JobRecord, NodeRecord, PartitionRecord
from slurm_power.service.asking import Ask
from slurm_power.service.binding import Binder
from slurm_power.service.book import Book, Journal
from slurm_power.service.derates import Derates
from slurm_power.service.descriptions import Descriptions
from slurm_power.service.facts import JobFacts
from slurm_power.service.faults import Faults
from slurm_power.service.law import Law
from slurm_power.service.measured import Measured
from slurm_power.service.metering import Metering
from slurm_power.service.moves import Moves
from slurm_power.service.preempting import Preempting
from slurm_power.service.reserved import Reserved
from slurm_power.service.shadow import Shadow
from slurm_power.service.watches import Watches
from slurm_power.service.world import World

_log = logging.getLogger("slurm_power.desk")
_CLOCK_BACK_S = 60
"""The clock may be set back by so much, and the ledger's time just stands still meanwhile."""
_TOKEN_BYTES, _TOKENS = 9, 256
_LETTERS = bytes.maketrans(b"-_", b"xy")


@immutable
class Reply:
    """What the hook is told: a verdict, a message for the user, and fields of the job description to set."""

    verdict: str
    message: str = ""
    fields: Mapping[str, str | int] = field(default_factory=dict)
    token: str = ""
    """The entry that a submission has made; empty if none."""


class Desk:
    """The state that submissions, launches, snapshots and passes work on. One thread only."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        journal: Journal,
        version: tuple[int, int, int] = (22, 5, 8),
        tokens: Iterator[str] | None = None,
    ) -> None:
        self.clock = clock
        self.journal = journal
        self.faults = Faults()
        self._tokens = tokens if tokens is not None else _unguessable()
        self.version = version
        self._private_jobs = False
        self._mode = site.policy.mode
        self.fair_shares: Mapping[tuple[str, str], float] = {}
        self.lost_partition = False
        """Whether a job named a partition that we do not know: it may be new, and Slurm is to be asked."""
        self.seen = 0.0
        """Monotonic time at which reading of the last whole snapshot began."""
        self._moved_at = 0.0
        """Monotonic time at which the site file last put nodes into other zones."""
        ledger = Ledger(site.topology, rule=site.policy.burst, now=clock.now())
        self.metering = Metering(site, journal, ledger.now)
        self.watches = Watches(self.metering)
        """Who is told of every change of a job's state."""
        self.reserved = Reserved(ledger, self.metering)
        self.shadow = Shadow(ledger)
        self.preempting = Preempting(ledger)
        self.derates = Derates()
        self.measured = Measured(site.control, clock.monotonic())
        self.moves = Moves()
        self.missed: list[Reservation] = []
        """Reservations that a change of the site file has ended, for whoever writes it down."""
        self.declared = site
        """The site as its file says; `site` is without the feeds that carry nothing now."""
        self.dark: frozenset[str] = frozenset()
        """The power feeds that carry nothing now."""
        self.lost: Mapping[str, float] = {}
        """Zone that carries nothing → monotonic time since when."""
        self._install(site, World(site), ledger)

    def _install(self, site: Site, world: World, ledger: Ledger) -> None:
        self.site = site
        self.tiers: Sequence[Tier] = sorted(site.policy.tiers.values(), key=lambda tier: tier.rank)
        """The site's tiers, the highest promise first."""
        self._use(world)
        self.floor = ledger.empty(self.declared.topology)
        self.metering.change_site(site)
        self.book = Book(ledger, self.journal, self.watches, private=self._private_jobs)

    def _use(self, world: World) -> None:
        world.learnt, world.law = self.metering.profiles.learnt, self.preempting.law
        self.world = world
        self.descriptions = Descriptions(world)
        self.binder = Binder(self.declared.topology, world.licenses, world.features())

    @property
    def ledger(self) -> Ledger:
        """The ledger of live claims."""
        return self.book.ledger

    @property
    def mode(self) -> Mode:
        """How far we go."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode is not self._mode:
            self._mode = mode
            self.preempting.cuts.clear()
            self.shadow.drop()
            self.book.look_again()

    @property
    def ends_jobs_after_cuts(self) -> bool:
        """Whether jobs give way where a limit falls below what they hold or draw; else they run to their ends."""
        return self.mode is Mode.ENFORCE and self.site.preemption.after_cut is WhenShort.PREEMPT

    @property
    def private_jobs(self) -> bool:
        """Whether Slurm keeps users' jobs from each other (PrivateData=jobs), and so do we."""
        return self._private_jobs

    @private_jobs.setter
    def private_jobs(self, private: bool) -> None:
        self._private_jobs = self.book.private = private

    def now(self) -> int:
        """The instant; the ledger is brought up to it."""
        now = self.clock.now()
        self.shadow.renew(now)
        self.preempting.renew(now)
        self.ledger.advance(now)
        return self.ledger.now

    def mend_clock(self) -> None:
        """The clock was ahead and has been set right: the same claims on a ledger of today, and nothing later than now.

        Not while anything holds on to the book or its ledger.
        """
        now, ahead = self.clock.now(), self.ledger.now
        if ahead - now <= _CLOCK_BACK_S:
            return
        _log.warning("the clock was ahead, the ledger goes back to its time", extra={"seconds": ahead - now})
        self.book.not_later_than(now)
        self.preempting.not_later_than(now)
        self.measured.not_later_than(now)
        self.derates.not_later_than(now)
        self._rebuild(self.world, now)
        self._count_nodes()

    def follow_derates(self) -> None:
        """Limits are what derates leave of them at this instant. Where that is less, jobs may have to give way."""
        now, before = self.now(), self.ledger
        dark = self.derates.dark(self.declared.topology, now)
        if dark != self.dark:
            _log.warning("feeds carry nothing: %s", ", ".join(sorted(dark)) or "none any more")
            self.dark = dark
            self._look(self._world(self.declared))
            if self.ends_jobs_after_cuts:
                self.preempting.cuts.note(before, self.ledger)
        lowered = self.derates.apply(self.ledger, self.declared.topology, now)
        if self.ends_jobs_after_cuts:
            self.preempting.cuts.lowered(lowered)

    def _world(self, declared: Site) -> World:
        """A site with what Slurm last showed, without the feeds that carry nothing."""
        site = replace(declared, topology=declared.topology.without(self.dark)) if self.dark else declared
        partitions = [partition.record for partition in self.world.partitions.values()]
        return World(site, list(self.world.nodes.values()), partitions, self.world.all_licenses)

    def take_law(self, law: Law) -> None:
        """What sacctmgr says of the QOS has been read."""
        if law != self.preempting.law:
            self.preempting.law = law
            self._use(self.world)
            if any(tier.accepts_cuts for tier in self.tiers):
                self.book.look_again()

    def make_rooms(self) -> Steps[None]:
        """What the ledgers look up at a submission, made or brought up to date before one comes."""
        yield from self.ledger.make_rooms()
        yield from self.floor.make_rooms()

    @property
    def settled(self) -> bool:
        """Whether what runs is counted where its nodes lie; not from a change of zones to the next whole snapshot.

        Until then zones may look emptier than they are, and nobody is admitted.
        """
        return self.seen >= self._moved_at

    def shortfall_instead(self, key: str, claim: Claim) -> Shortfall | None:
        """Why a claim cannot take the place of the one of that key. A shadow, being a plan only, stands in no way."""
        with self.preempting.set_aside():
            return self.ledger.shortfall_instead(key, claim, ignore=self.shadow.id)

    def new_token(self) -> str:
        """A token for a new claim."""
        return next(self._tokens)

    def acts_on(self, ask: Ask) -> bool:
        """Whether the mode lets us hold, bind or refuse this job."""
        return self.in_scope(ask.facts) or (self.mode is Mode.ENFORCE and bool(ask.request.reservation))

    def in_scope(self, facts: JobFacts | JobRecord) -> bool:
        """The same of a job of which it is not known what it asks for."""
        if self.mode is not Mode.ENFORCE:
            return False
        return self.site.policy.scope is Scope.ALL or bool(facts.reservation)

    def ignored_by(self, request: Request) -> str | None:
        """What does not stand in its way: what is kept for it, its own shadow, or that of a lower tier."""
        kept, head = self.preempting.kept(request.id), self.shadow.head
        if kept is not None or head is None:
            return kept
        own = head.id == request.id
        # Who keeps first call, by a reservation that has given its watts back, keeps it before higher tiers too.
        outranked = request.tier.rank < head.tier.rank and not head.reservation
        return self.shadow.id if own or outranked else None

    def survey(
        self, nodes: Sequence[NodeRecord], partitions: Sequence[PartitionRecord], licenses: Collection[str]
    ) -> None:
        """Take in Slurm's nodes, partitions and names of licences."""
        if self.world.renew(nodes, partitions, licenses):
            for zone in self.site.topology.zones:
                self.ledger.set_nodes(zone, self.world.zone_nodes(zone))
        else:
            self._look(World(self.site, nodes, partitions, licenses))

    def change_site(self, site: Site) -> None:
        """Another site file, on what Slurm last showed. Where it moves nodes, the next snapshot counts them anew.

        What it cuts is remembered where jobs are ours to end: before it and after it the mode is enforce.
        """
        mode, ledger = self.mode, self.ledger
        if site.topology.zone_of_node != self.site.topology.zone_of_node:
            self._moved_at = self.clock.monotonic()
        if site.policy.mode is not self.site.policy.mode:
            self.mode = site.policy.mode
        self.declared = site
        self.dark = self.derates.dark(site.topology, ledger.now)
        self._look(self._world(site))
        if mode is Mode.ENFORCE and self.ends_jobs_after_cuts:
            self.preempting.cuts.note(ledger, self.ledger)
        else:
            self.preempting.cuts.clear()

    def _look(self, world: World) -> None:
        if world.site is not self.site or world.pools() != self.world.pools():
            self._rebuild(world, self.now())
        else:
            self._use(world)
            self.book.look_again()
        self._count_nodes()

    def _count_nodes(self) -> None:
        for zone in self.site.topology.zones:
            self.ledger.set_nodes(zone, self.world.zone_nodes(zone))
            self.floor.set_nodes(zone, self.world.all_nodes(zone))

    def _rebuild(self, world: World, now: int) -> None:
        """Another site file or other partitions: the same claims on a new floor. The shadow is booked anew later."""
        before = self.book
        ledger = Ledger(world.site.topology, world.pools(), world.site.policy.burst, now)
        self._install(world.site, world, ledger)
        self.derates.apply(ledger, self.declared.topology, now)
        for name, meter in before.ledger.meters.items():
            if name in ledger.meters:
                ledger.set_stray(name, meter.stray_w, blind=meter.blind)
        for zone, why in before.ledger.closed.items():
            if zone in ledger.nodes:
                ledger.close(zone, why)
        self.missed += self.reserved.move_to(ledger, now)
        self.shadow.move_to(ledger)
        self.preempting.move_to(ledger)
        self.book.take_over(before)
        self.book.look_again()
        if self.seen:
            finish(self.make_rooms())


def _unguessable() -> Iterator[str]:
    """Tokens that nobody can guess; drawn many at a time, so that hardly a submission waits for the system call."""
    while True:
        pool = token_bytes(_TOKEN_BYTES * _TOKENS)
        for start in range(0, len(pool), _TOKEN_BYTES):
            yield urlsafe_b64encode(pool[start : start + _TOKEN_BYTES]).translate(_LETTERS).decode()
