//! Whose the bytes of a store are. Pure.
//!
//! Every object belongs to one account at most, so that sums add up. Accounts come in two sorts: those that share see all
//! that they lead to, and what several of them lead to is nobody's alone; those that take get what is left. One number an
//! object is kept, whatever the number of accounts: a set an account would not fit into memory.

use std::collections::HashMap;

use crate::error::Result;
use crate::store::ObjectId;

/// What is in a tree: `None` if that is not known. The second says whether it is a tree itself.
pub type Below<'a> = &'a dyn Fn(&ObjectId) -> Result<Option<Vec<(ObjectId, bool)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(u32);

/// What an account comes to: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// All that it leads to; of one that takes, what it got.
    pub held: u64,
    /// What no other account leads to.
    pub alone: u64,
}

#[derive(Clone, Copy, Default)]
struct Held {
    /// Of all its copies.
    bytes: u64,
    /// The account that came first; 0 for none.
    owner: u32,
    /// The account that saw it last.
    last: u32,
    is_shared: bool,
}

#[derive(Default)]
pub struct Ledger {
    objects: HashMap<ObjectId, Held>,
    /// What each account leads to; the first stands for nobody.
    held: Vec<u64>,
}

impl Ledger {
    /// Enters a copy of an object.
    pub fn enter(&mut self, id: ObjectId, bytes: u64) {
        self.objects.entry(id).or_default().bytes += bytes;
    }

    /// A new account.
    pub fn open(&mut self) -> Account {
        if self.held.is_empty() {
            self.held.push(0);
        }
        self.held.push(0);
        Account(self.held.len() as u32 - 1)
    }

    /// Counts all that an object leads to, also what other accounts have. All of these come before the first that takes.
    pub fn share(&mut self, account: Account, id: ObjectId, is_tree: bool, below: Below) -> Result<()> {
        self.walk(account, (id, is_tree), below, |held, account| {
            if held.last == account {
                return false;
            }
            held.last = account;
            if held.owner == 0 {
                held.owner = account
            } else {
                held.is_shared |= held.owner != account
            }
            true
        })
    }

    /// Takes what an object leads to, as far as it is nobody's. What is below a tree that somebody has is somebody's, too.
    pub fn take(&mut self, account: Account, id: ObjectId, is_tree: bool, below: Below) -> Result<()> {
        self.walk(account, (id, is_tree), below, |held, account| {
            let is_free = held.owner == 0;
            if is_free {
                held.owner = account;
            }
            is_free
        })
    }

    fn walk(
        &mut self,
        account: Account,
        root: (ObjectId, bool),
        below: Below,
        mine: impl Fn(&mut Held, u32) -> bool,
    ) -> Result<()> {
        let mut rest = vec![root];
        while let Some((id, is_tree)) = rest.pop() {
            let held = self.objects.entry(id).or_default();
            if !mine(held, account.0) {
                continue;
            }
            self.held[account.0 as usize] += held.bytes;
            if is_tree && let Some(entries) = below(&id)? {
                rest.extend(entries);
            }
        }
        Ok(())
    }

    /// All accounts in their order, and what several have.
    pub fn sums(&self) -> (Vec<Sum>, u64) {
        let mut sums: Vec<Sum> = self.held.iter().map(|held| Sum { held: *held, alone: 0 }).collect();
        let mut shared = 0;
        for held in self.objects.values() {
            match sums.get_mut(held.owner as usize) {
                _ if held.is_shared => shared += held.bytes,
                Some(sum) => sum.alone += held.bytes,
                None => {}
            }
        }
        sums.drain(..sums.len().min(1));
        (sums, shared)
    }

    /// What is nobody's.
    pub fn unowned(&self) -> impl Iterator<Item = (&ObjectId, u64)> {
        self.objects.iter().filter(|(_, held)| held.owner == 0).map(|(id, held)| (id, held.bytes))
    }

    /// All objects that an account before this one has.
    pub fn owned_before(&self, account: Account) -> impl Iterator<Item = ObjectId> + '_ {
        self.objects.iter().filter(move |(_, held)| (1..account.0).contains(&held.owner)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId([n; 32])
    }

    /// Objects of 1, 10, 100, … bytes. 20 is a tree of 1 and 2, 30 of 2, 3 and 20, 40 is not known.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for (n, bytes) in [(1, 1), (2, 10), (3, 100), (4, 1000), (20, 10_000), (30, 100_000)] {
            ledger.enter(id(n), bytes);
        }
        ledger
    }

    fn below(tree: &ObjectId) -> Result<Option<Vec<(ObjectId, bool)>>> {
        Ok(match tree.0[0] {
            20 => Some(vec![(id(1), false), (id(2), false)]),
            30 => Some(vec![(id(2), false), (id(3), false), (id(20), true)]),
            _ => None,
        })
    }

    #[test]
    fn every_byte_is_counted_once() {
        // Pins of accounts that share, of accounts that take; what each comes to, what is shared, what is left.
        type Case<'a> = (&'a str, &'a [&'a [u8]], &'a [&'a [u8]], &'a [(u64, u64)], u64, u64);
        let cases: &[Case] = &[
            ("nothing", &[], &[], &[], 0, 111_111),
            ("a file", &[&[1]], &[], &[(1, 1)], 0, 111_110),
            ("twice the same pin", &[&[1, 1]], &[], &[(1, 1)], 0, 111_110),
            ("two that share a file", &[&[20], &[2]], &[], &[(10_011, 10_001), (10, 0)], 10, 101_100),
            ("a tree in a tree", &[&[20], &[30]], &[], &[(10_011, 0), (110_111, 100_100)], 10_011, 1000),
            ("the other way round", &[&[30], &[20]], &[], &[(110_111, 100_100), (10_011, 0)], 10_011, 1000),
            ("three of one", &[&[2], &[2], &[20]], &[], &[(10, 0), (10, 0), (10_011, 10_001)], 10, 101_100),
            (
                "who takes gets the rest",
                &[&[20]],
                &[&[30], &[4, 3]],
                &[(10_011, 10_011), (100_100, 100_100), (1000, 1000)],
                0,
                0,
            ),
            ("what is not here counts nothing", &[&[40, 50]], &[&[40]], &[(0, 0), (0, 0)], 0, 111_111),
        ];
        for (name, sharing, taking, want, shared, left) in cases {
            let mut ledger = ledger();
            for pins in *sharing {
                let account = ledger.open();
                pins.iter().for_each(|n| ledger.share(account, id(*n), *n >= 20, &below).unwrap());
            }
            for pins in *taking {
                let account = ledger.open();
                pins.iter().for_each(|n| ledger.take(account, id(*n), *n >= 20, &below).unwrap());
            }
            let (sums, common) = ledger.sums();
            let unowned: u64 = ledger.unowned().map(|(_, bytes)| bytes).sum();
            let sums: Vec<(u64, u64)> = sums.iter().map(|sum| (sum.held, sum.alone)).collect();
            assert_eq!((&sums[..], common, unowned), (*want, *shared, *left), "{name}");
            let all: u64 = sums.iter().map(|(_, alone)| alone).sum::<u64>() + common + unowned;
            assert_eq!(all, 111_111, "{name}");
        }
    }

    #[test]
    fn copies_count_each() {
        let mut ledger = ledger();
        ledger.enter(id(1), 1);
        let (first, second) = (ledger.open(), ledger.open());
        ledger.share(first, id(1), false, &below).unwrap();
        ledger.take(second, id(2), false, &below).unwrap();
        assert_eq!(ledger.sums().0[0].held, 2);
        assert_eq!(ledger.owned_before(second).collect::<Vec<_>>(), [id(1)]);
    }
}
