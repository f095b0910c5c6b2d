//! Bugs that are planted into the shell around the replicas: each must be caught by the invariant
//! that names it.

use super::Invariant;

/// A way of breaking the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Every append counts as durable at once.
    AcknowledgesBeforeItIsDurable,
    /// A follower says that it holds entries that are not on its disk yet.
    PromisesBeforeItIsDurable,
    /// A vote is given away before it is on disk.
    VotesBeforeItIsDurable,
    /// A crash takes what was reported as synced.
    DiskForgetsWhatItSynced,
    /// After a restart it is not known who got the vote.
    ForgetsItsVote,
    /// After a restart neither term nor vote are known.
    ForgetsItsHardState,
    /// A leader tells followers that entries are committed as soon as it sends them.
    CommitsAlone,
    /// Reads are answered at once.
    ReadsWithoutBarrier,
    /// A write whose fate is not known is made again.
    RepeatsWhatWasInterrupted,
    /// A command no longer says which leader it is of.
    ForgetsTheCommandsTerm,
    /// A server whose disk was emptied comes back with its old number.
    ReusesAnId,
    /// Learners get a vote as if they were healthy and up to date.
    PromotesWithoutCatchUp,
    /// Of a change of several votes only the first is made.
    ChangesOneVoteAtATime,
    /// A watcher that moves to another server goes on one revision too late.
    ResumesOneTooLate,
    /// Nobody tells the leader that a snapshot arrived or was lost.
    ForgetsWhatBecameOfSnapshots,
}

impl Bug {
    /// Every bug, with an invariant that must catch it.
    pub const ALL: [(Self, Invariant); 17] = [
        (
            Self::AcknowledgesBeforeItIsDurable,
            Invariant::NothingAcknowledgedIsLost,
        ),
        (
            Self::AcknowledgesBeforeItIsDurable,
            Invariant::AppliedIsDurable,
        ),
        (
            Self::PromisesBeforeItIsDurable,
            Invariant::PromisesAreDurable,
        ),
        (
            Self::VotesBeforeItIsDurable,
            Invariant::EveryServerVotesOnce,
        ),
        (
            Self::DiskForgetsWhatItSynced,
            Invariant::NothingAcknowledgedIsLost,
        ),
        (Self::ForgetsItsVote, Invariant::EveryServerVotesOnce),
        (Self::ForgetsItsHardState, Invariant::TermsNeverGoBack),
        (Self::CommitsAlone, Invariant::EveryServerAppliesTheSame),
        (Self::ReadsWithoutBarrier, Invariant::NoReadIsStale),
        (
            Self::ReadsWithoutBarrier,
            Invariant::HistoriesAreLinearizable,
        ),
        (
            Self::RepeatsWhatWasInterrupted,
            Invariant::HistoriesAreLinearizable,
        ),
        (
            Self::ForgetsTheCommandsTerm,
            Invariant::OldLeadersAreRefused,
        ),
        (Self::ReusesAnId, Invariant::NothingAcknowledgedIsLost),
        (Self::PromotesWithoutCatchUp, Invariant::VotersHaveCaughtUp),
        (Self::ChangesOneVoteAtATime, Invariant::NoEvenNumberDecides),
        (
            Self::ResumesOneTooLate,
            Invariant::WatchersSeeTheSameHistory,
        ),
        (
            Self::ForgetsWhatBecameOfSnapshots,
            Invariant::AllIsWellInTheEnd,
        ),
    ];
}
