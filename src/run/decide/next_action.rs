//! What a run does with a stage when its turn comes. Pure: a situation goes in, an action comes out.

use crate::plan::reasons::Reason;
use crate::plan::schedule::Fetched;

/// What the decision about a stage depends on. The default is a stage that is up to date.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// The most that changed since the lock entry was written.
    pub change: Change,
    /// `--force`, or a stage that it needs ran and `--force-downstream` was given.
    pub is_forced: bool,
    /// `--locked`: only results that the lock pins are restored.
    pub is_locked: bool,
    pub is_frozen: bool,
    /// The configured shell cannot run its commands as written.
    pub has_wrong_shell: bool,
    /// The run may fetch from remotes.
    pub has_remotes: bool,
    /// What was fetched for the stage already.
    pub fetched: Fetched,
    /// It reads parts of missing folders whose listings are missing, too.
    pub lacks_listings: bool,
    /// Inputs that the decision needs are missing and pinned, so they may be fetched.
    pub lacks_pinned_inputs: bool,
    /// An input does not exist, or lacks a value that the stage reads.
    pub lacks_inputs: bool,
    /// The only change is that an output that it builds on (`persist`) is another stored version than the lock pins.
    pub has_other_version: bool,
    /// An output that it builds on (`persist`) is missing and pinned.
    pub lacks_persistent: bool,
    /// Of a frozen stage: an output is missing.
    pub lacks_outs: bool,
    /// Of a frozen stage that lacks outs: what the lock and the store say about them.
    pub outs: PinnedOuts,
}

/// The most that changed about a stage; each also stands for the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    #[default]
    None,
    /// Outputs are missing or edited: the pinned result fits the inputs.
    Outs,
    /// The stage runs always.
    Always,
    /// An input differs, or the stage was never run.
    Inputs,
}

/// Whether missing outputs can be restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PinnedOuts {
    /// The lock pins none.
    #[default]
    Unpinned,
    Pinned,
    /// The store has all.
    Stored,
}

/// What a run does with a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetches the listings of missing folders; then the stage is decided again.
    FetchListings,
    /// Fetches missing inputs; then the stage is decided again.
    FetchInputs,
    /// Nothing: the lock describes what is there.
    UpToDate,
    /// Nothing: `--locked` or a frozen stage.
    Skip,
    /// Nothing, and the stale stage is reported.
    SkipStale,
    /// Restores an earlier result or runs the commands.
    Start,
    /// Restores what the lock pins, without running anything.
    RestorePinned,
    /// The same, from a remote.
    FetchPinned,
    Stop(Obstacle),
}

/// Why a stage cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    WrongShell,
    MissingInput,
    /// A run would replace the pinned version by one that builds on another.
    OtherVersion,
    MissingPersistent,
    FrozenWithoutOuts,
}

impl Change {
    pub fn of(reasons: &[Reason]) -> Change {
        let one = |reason: &Reason| match reason {
            Reason::Always => Change::Always,
            reason if reason.is_input() => Change::Inputs,
            _ => Change::Outs,
        };
        reasons.iter().map(one).max().unwrap_or_default()
    }
}

/// Decides about a stage. The order of the rules matters: what cannot run is told before anything is fetched for it,
/// and what decides is fetched before it is missed.
pub fn next_action(now: &Situation) -> Action {
    if now.has_wrong_shell && !now.is_frozen {
        return Action::Stop(Obstacle::WrongShell);
    }
    if now.lacks_listings && now.has_remotes && now.fetched < Fetched::Listings {
        return Action::FetchListings;
    }
    if now.is_frozen {
        return match (now.lacks_outs, now.outs) {
            (false, _) => Action::Skip,
            (true, PinnedOuts::Stored) => Action::RestorePinned,
            (true, PinnedOuts::Pinned) if now.has_remotes => Action::FetchPinned,
            (true, _) => Action::Stop(Obstacle::FrozenWithoutOuts),
        };
    }
    let is_stale = now.change > Change::None || now.is_forced;
    if is_stale && now.lacks_pinned_inputs && now.has_remotes && now.fetched < Fetched::Inputs {
        return Action::FetchInputs;
    }
    match now.change {
        Change::Inputs if now.is_locked => return Action::SkipStale,
        Change::Always if now.is_locked => return Action::Skip,
        _ if !is_stale => return Action::UpToDate,
        _ if now.lacks_inputs => return Action::Stop(Obstacle::MissingInput),
        _ => {}
    }
    if now.has_other_version && !now.is_forced {
        return Action::Stop(Obstacle::OtherVersion);
    }
    // Without remotes nothing can bring it back, so the stage starts without it.
    if now.lacks_persistent && now.has_remotes {
        return Action::Stop(Obstacle::MissingPersistent);
    }
    Action::Start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(change: Change) -> Situation {
        Situation { change, ..Situation::default() }
    }

    fn frozen(outs: PinnedOuts) -> Situation {
        Situation { is_frozen: true, lacks_outs: true, outs, ..Situation::default() }
    }

    #[test]
    fn a_stage_that_lacks_nothing() {
        use Action::*;
        for (change, plain, forced, locked) in [
            (Change::None, UpToDate, Start, UpToDate),
            (Change::Outs, Start, Start, Start),
            (Change::Always, Start, Start, Skip),
            (Change::Inputs, Start, Start, SkipStale),
        ] {
            assert_eq!(next_action(&stale(change)), plain, "{change:?}");
            assert_eq!(next_action(&Situation { is_forced: true, ..stale(change) }), forced, "{change:?}, forced");
            assert_eq!(next_action(&Situation { is_locked: true, ..stale(change) }), locked, "{change:?}, locked");
        }
    }

    #[test]
    fn what_a_stage_lacks() {
        use Action::*;
        let lacking = |change, set: &dyn Fn(&mut Situation)| {
            let mut now = stale(change);
            set(&mut now);
            let without = next_action(&now);
            let with = next_action(&Situation { has_remotes: true, ..now.clone() });
            let fetched = next_action(&Situation { has_remotes: true, fetched: Fetched::Inputs, ..now });
            [without, with, fetched]
        };
        // Without a remote, with one, and after the fetch.
        let inputs = |now: &mut Situation| (now.lacks_pinned_inputs, now.lacks_inputs) = (true, true);
        let missed = Stop(Obstacle::MissingInput);
        assert_eq!(lacking(Change::None, &inputs), [UpToDate; 3], "assumed to be as pinned");
        assert_eq!(lacking(Change::Inputs, &inputs), [missed, FetchInputs, missed]);
        let listings = |now: &mut Situation| now.lacks_listings = true;
        assert_eq!(lacking(Change::None, &listings), [UpToDate, FetchListings, UpToDate]);
        let unpinned = |now: &mut Situation| now.lacks_inputs = true;
        assert_eq!(lacking(Change::Inputs, &unpinned), [missed; 3]);
        let persistent = |now: &mut Situation| (now.lacks_persistent, now.lacks_pinned_inputs) = (true, true);
        let lost = Stop(Obstacle::MissingPersistent);
        assert_eq!(lacking(Change::Inputs, &persistent), [Start, FetchInputs, lost]);
        let other = |now: &mut Situation| now.has_other_version = true;
        assert_eq!(lacking(Change::Outs, &other), [Stop(Obstacle::OtherVersion); 3]);
        let forced = |now: &mut Situation| (now.has_other_version, now.is_forced) = (true, true);
        assert_eq!(lacking(Change::Outs, &forced), [Start; 3]);
        let shell = |now: &mut Situation| (now.has_wrong_shell, now.lacks_listings) = (true, true);
        assert_eq!(lacking(Change::Inputs, &shell), [Stop(Obstacle::WrongShell); 3]);
    }

    #[test]
    fn listings_come_before_inputs_and_each_once() {
        let mut now = Situation { has_remotes: true, lacks_listings: true, ..stale(Change::Inputs) };
        (now.lacks_pinned_inputs, now.lacks_inputs) = (true, true);
        assert_eq!(next_action(&now), Action::FetchListings);
        now.fetched = Fetched::Listings;
        assert_eq!(next_action(&now), Action::FetchInputs);
        now.fetched = Fetched::Inputs;
        assert_eq!(next_action(&now), Action::Stop(Obstacle::MissingInput));
    }

    #[test]
    fn a_frozen_stage_is_restored_and_never_run() {
        use Action::*;
        let lost = Stop(Obstacle::FrozenWithoutOuts);
        for (outs, without, with) in [
            (PinnedOuts::Unpinned, lost, lost),
            (PinnedOuts::Pinned, lost, FetchPinned),
            (PinnedOuts::Stored, RestorePinned, RestorePinned),
        ] {
            assert_eq!(next_action(&frozen(outs)), without, "{outs:?}");
            assert_eq!(next_action(&Situation { has_remotes: true, ..frozen(outs) }), with, "{outs:?}");
            let complete = Situation { lacks_outs: false, change: Change::Inputs, is_forced: true, ..frozen(outs) };
            assert_eq!(next_action(&complete), Skip, "{outs:?}, complete");
            let shell = Situation { has_wrong_shell: true, ..complete };
            assert_eq!(next_action(&shell), Skip, "nothing runs, so no shell is needed");
        }
    }
}
