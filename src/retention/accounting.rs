//! Assigns the bytes of a store to accounts. Pure.
//!
//! Every object belongs to at most one account, so that sums add up. There are two kinds of accounts: shared ones count
//! everything that they reach, and objects that several of them reach belong to none alone; exclusive ones get what is
//! left. One number per object is stored, whatever the number of accounts: a set per account would not fit into memory.

use std::collections::HashMap;

use crate::error::Result;
use crate::store::ObjectId;

/// The entries of a tree: `None` if the tree is not known. The flag is true for subtrees.
pub type TreeEntries<'a> = &'a dyn Fn(&ObjectId) -> Result<Option<Vec<(ObjectId, bool)>>>;

/// The number of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(u32);

/// The bytes of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountTotal {
    /// All that it reaches; for an exclusive account, what it took.
    pub held: u64,
    /// What no other account reaches.
    pub alone: u64,
}

#[derive(Clone, Copy, Default)]
struct ObjectOwner {
    /// The bytes of all its copies.
    bytes: u64,
    /// The first account that reached it; 0 for none.
    owner: u32,
    /// The last account that reached it.
    last: u32,
    is_shared: bool,
}

/// The copies of all objects, and the accounts.
#[derive(Default)]
pub struct Accounting {
    objects: HashMap<ObjectId, ObjectOwner>,
    /// The bytes that each account reaches; the first entry is for unowned objects.
    held: Vec<u64>,
}

impl Accounting {
    /// Adds a copy of an object.
    pub fn add_copy(&mut self, id: ObjectId, bytes: u64) {
        self.objects.entry(id).or_default().bytes += bytes;
    }

    /// Opens an account.
    pub fn open_account(&mut self) -> Account {
        if self.held.is_empty() {
            self.held.push(0);
        }
        self.held.push(0);
        Account(self.held.len() as u32 - 1)
    }

    /// Counts everything reachable from an object, including what other accounts have. All calls come before the first
    /// [`take`](Self::take).
    pub fn share(&mut self, account: Account, id: ObjectId, is_tree: bool, below: TreeEntries) -> Result<()> {
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

    /// Takes the unowned objects that are reachable from an object. Everything below an owned tree is owned, too.
    pub fn take(&mut self, account: Account, id: ObjectId, is_tree: bool, below: TreeEntries) -> Result<()> {
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
        below: TreeEntries,
        mine: impl Fn(&mut ObjectOwner, u32) -> bool,
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

    /// The sums of all accounts in their order, and the bytes that several of them share.
    pub fn sums(&self) -> (Vec<AccountTotal>, u64) {
        let mut sums: Vec<AccountTotal> = self.held.iter().map(|held| AccountTotal { held: *held, alone: 0 }).collect();
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

    /// Objects without an owner.
    pub fn unowned(&self) -> impl Iterator<Item = (&ObjectId, u64)> {
        self.objects.iter().filter(|(_, held)| held.owner == 0).map(|(id, held)| (id, held.bytes))
    }

    /// All objects that belong to an account before this one.
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
    fn accounting() -> Accounting {
        let mut accounting = Accounting::default();
        for (n, bytes) in [(1, 1), (2, 10), (3, 100), (4, 1000), (20, 10_000), (30, 100_000)] {
            accounting.add_copy(id(n), bytes);
        }
        accounting
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
        // The pins of shared accounts and of exclusive accounts; the sums of each, the shared bytes, the unowned bytes.
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
            let mut accounting = accounting();
            for pins in *sharing {
                let account = accounting.open_account();
                pins.iter().for_each(|n| accounting.share(account, id(*n), *n >= 20, &below).unwrap());
            }
            for pins in *taking {
                let account = accounting.open_account();
                pins.iter().for_each(|n| accounting.take(account, id(*n), *n >= 20, &below).unwrap());
            }
            let (sums, common) = accounting.sums();
            let unowned: u64 = accounting.unowned().map(|(_, bytes)| bytes).sum();
            let sums: Vec<(u64, u64)> = sums.iter().map(|sum| (sum.held, sum.alone)).collect();
            assert_eq!((&sums[..], common, unowned), (*want, *shared, *left), "{name}");
            let all: u64 = sums.iter().map(|(_, alone)| alone).sum::<u64>() + common + unowned;
            assert_eq!(all, 111_111, "{name}");
        }
    }

    #[test]
    fn copies_count_each() {
        let mut accounting = accounting();
        accounting.add_copy(id(1), 1);
        let (first, second) = (accounting.open_account(), accounting.open_account());
        accounting.share(first, id(1), false, &below).unwrap();
        accounting.take(second, id(2), false, &below).unwrap();
        assert_eq!(accounting.sums().0[0].held, 2);
        assert_eq!(accounting.owned_before(second).collect::<Vec<_>>(), [id(1)]);
    }
}
