//! One key, as its clients see it: the sequential model that their histories are checked against.
//! Every value is unique, and every change has a revision that is later than all before it.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// What must hold of the present value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum If {
    Any,
    Absent,
    Revision(u64),
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Put { value: u64, when: If },
    Delete { revision: u64 },
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ret {
    /// The value and its revision.
    Got(Option<(u64, u64)>),
    /// It happened, at this revision.
    Done(u64),
    /// It did not, because of what was found: its revision.
    Refused(Option<u64>),
}

/// A key.
#[derive(Debug, Clone, Default)]
struct Register {
    present: Option<(u64, u64)>,
    /// The revision of the last change.
    changed: u64,
}

impl Register {
    fn holds(&self, when: If) -> bool {
        match when {
            If::Any => true,
            If::Absent => self.present.is_none(),
            If::Revision(revision) => self.present.is_some_and(|(_, r)| r == revision),
        }
    }
}

impl SequentialSpec for Register {
    type Op = Op;
    type Ret = Ret;

    /// For operations without an answer; the histories here have none.
    fn invoke(&mut self, op: &Op) -> Ret {
        let next = Ret::Done(self.changed + 1);
        let got = Ret::Got(self.present);
        let refused = Ret::Refused(self.present.map(|(_, revision)| revision));
        let possible = [next, got, refused];
        let fits = |ret: &Ret| self.clone().is_valid_step(op, ret);
        let ret = possible.into_iter().find(fits).unwrap_or(refused);
        self.is_valid_step(op, &ret);
        ret
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        let (when, after) = match (*op, *ret) {
            (Op::Get, Ret::Got(found)) => return found == self.present,
            (Op::Put { value, when }, _) => (when, Some(value)),
            (Op::Delete { revision }, _) => (If::Revision(revision), None),
            (Op::Get, _) => return false,
        };
        match *ret {
            Ret::Done(revision) if self.holds(when) && revision > self.changed => {
                self.present = after.map(|value| (value, revision));
                self.changed = revision;
                true
            }
            Ret::Refused(found) => {
                !self.holds(when) && found == self.present.map(|(_, revision)| revision)
            }
            _ => false,
        }
    }
}

/// An operation of a client, and when it began and ended.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    /// One after the other on each.
    pub thread: u64,
    pub key: u64,
    /// The name of a write.
    pub token: u64,
    pub op: Op,
    pub invoked: u64,
    /// Without an answer the outcome is not known.
    pub returned: Option<(u64, Ret)>,
}

/// Whether there is an order of these operations on one key, which agrees with what each was told
/// and with which ended before which began. `happened` tells at which revision a write without an
/// answer happened, if it did: it may take effect at any time after it began.
pub(super) fn is_linearizable(
    operations: &[&Recorded],
    happened: impl Fn(u64) -> Option<u64>,
) -> Result<bool, String> {
    let mut events = Vec::new();
    for (number, recorded) in operations.iter().enumerate() {
        let end = match recorded.returned {
            Some(end) => end,
            // A read that was never answered says nothing.
            None => match happened(recorded.token) {
                Some(revision) => (u64::MAX, Ret::Done(revision)),
                None => continue,
            },
        };
        events.push((recorded.invoked, number, None));
        events.push((end.0, number, Some(end.1)));
    }
    events.sort_by_key(|(at, number, _)| (*at, *number));
    let mut tester = LinearizabilityTester::new(Register::default());
    for (_, number, ret) in events {
        let Recorded { thread, op, .. } = operations[number];
        match ret {
            None => tester.on_invoke(*thread, *op)?,
            Some(ret) => tester.on_return(*thread, ret)?,
        };
    }
    Ok(tester.is_consistent())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(thread: u64, op: Op, invoked: u64, returned: u64, ret: Ret) -> Recorded {
        Recorded {
            thread,
            key: 0,
            token: thread,
            op,
            invoked,
            returned: Some((returned, ret)),
        }
    }

    fn check(history: &[Recorded]) -> bool {
        let all: Vec<&Recorded> = history.iter().collect();
        is_linearizable(&all, |_| None).expect("a well-formed history")
    }

    #[test]
    fn an_old_value_may_be_read_while_a_write_is_under_way_but_not_after() {
        let put = Op::Put {
            value: 7,
            when: If::Absent,
        };
        let write = did(1, put, 1, 5, Ret::Done(3));
        let nothing = Ret::Got(None);
        assert!(check(&[write.clone(), did(2, Op::Get, 2, 6, nothing)]));
        assert!(!check(&[write.clone(), did(2, Op::Get, 6, 7, nothing)]));
        let both = [
            write,
            did(2, Op::Get, 2, 3, Ret::Got(Some((7, 3)))),
            did(3, Op::Get, 4, 5, nothing),
        ];
        assert!(!check(&both), "a value that was seen stays");
    }

    #[test]
    fn a_refusal_must_have_had_a_reason() {
        let put = |value, when| Op::Put { value, when };
        let first = did(1, put(1, If::Absent), 1, 2, Ret::Done(1));
        let second = |ret| did(2, put(2, If::Revision(1)), 3, 4, ret);
        assert!(check(&[first.clone(), second(Ret::Done(2))]));
        assert!(!check(&[first.clone(), second(Ret::Refused(Some(1)))]));
        assert!(!check(&[first, second(Ret::Refused(Some(9)))]));
    }
}
