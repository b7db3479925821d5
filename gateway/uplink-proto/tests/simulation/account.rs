//! What became of every record: the promise, checked.
//!
//! Not known to agent and county: who holds what, and what is gone with a disk.

use crate::{county::County, outbox::Key};
use model::{
    id::OutboxId,
    record::{AgentStarted, Record},
    time::Observed,
};
use std::{collections::BTreeMap, iter, rc::Rc};

/// A record that an agent was given, by its number.
pub(crate) struct Story {
    record: Record,
    /// Every number its envelope ever had; none: it was never committed.
    pub(crate) keys: Vec<Key>,
    /// Agents that know of it: in a row, or as one that was acked, pruned or given up.
    pub(crate) holders: Vec<usize>,
    /// Some outbox counted it as given up.
    pub(crate) given_up: bool,
    /// An outbox that had it was replaced by an older image.
    pub(crate) off_disk: bool,
    /// The county had it, or its drop, and was restored from a backup that has not.
    pub(crate) rolled_back: bool,
}

#[derive(Default)]
pub(crate) struct Account(Vec<Story>);

/// How the records of a run ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) committed: u64,
    pub(crate) stored: u64,
    /// Counted at the county as given up or kept aside, by the cause.
    pub(crate) counted: BTreeMap<&'static str, u64>,
    /// Lost with the disk they were on before the county had them, and nobody else knows of them.
    pub(crate) gone_with_disk: u64,
    /// Lost by a county that was restored, after the outbox that sent them had become another one
    /// or a copy of it had used their numbers.
    pub(crate) gone_with_county: u64,
}

impl Account {
    pub(crate) fn hand_over(&mut self, observed: Observed) -> (u64, Record) {
        let number = u64::try_from(self.0.len()).unwrap();
        let record = Record::Started(AgentStarted { version: number.to_string(), observed });
        self.0.push(Story {
            record: record.clone(),
            keys: Vec::new(),
            holders: Vec::new(),
            given_up: false,
            off_disk: false,
            rolled_back: false,
        });
        (number, record)
    }

    pub(crate) fn story(&mut self, number: u64) -> &mut Story {
        &mut self.0[usize::try_from(number).unwrap()]
    }

    pub(crate) fn commit(&mut self, who: usize, number: u64, key: Key) {
        let story = self.story(number);
        story.keys.push(key);
        story.holders.push(who);
    }

    /// An outbox started anew: what it had told the county already it does not keep.
    pub(crate) fn moved(&mut self, who: usize, moved: &[(Key, Rc<[u64]>)], county: &County) {
        let known = self.known(county);
        for (story, known) in iter::zip(&mut self.0, known) {
            if known || story.rolled_back {
                story.holders.retain(|holder| *holder != who);
            }
        }
        for (key, numbers) in moved {
            for number in numbers.iter() {
                let story = self.story(*number);
                story.keys.push(*key);
                story.holders.push(who);
            }
        }
    }

    pub(crate) fn committed(&mut self) -> impl Iterator<Item = (u64, &mut Story)> {
        (0..).zip(&mut self.0).filter(|(_, story)| !story.keys.is_empty())
    }

    /// How often each record is at the county; nothing is there that nobody committed, and nothing
    /// was altered.
    pub(crate) fn stored(&self, county: &County) -> Vec<u32> {
        let mut stored = vec![0; self.0.len()];
        for record in &county.records {
            let Record::Started(started) = record else { panic!("never committed: {record:?}") };
            let number: usize = started.version.parse().unwrap();
            let story = &self.0[number];
            assert!(!story.keys.is_empty(), "never committed: {number}");
            assert_eq!(*record, story.record, "altered");
            stored[number] += 1;
        }
        let doubled = (0..).zip(&stored).find(|(_, count)| **count > 1);
        assert_eq!(doubled, None::<(usize, _)>, "stored twice");
        stored
    }

    /// Which records the county has, or knows to be given up.
    pub(crate) fn known(&self, county: &County) -> Vec<bool> {
        let counted = |story: &Story| story.keys.iter().any(|key| county.cause(key).is_some());
        let stored = self.stored(county);
        iter::zip(&self.0, stored).map(|(story, stored)| stored > 0 || counted(story)).collect()
    }

    /// At any moment: a record that the county does not have is in an outbox that will tell of it.
    pub(crate) fn check(&self, county: &County, waits: impl Fn(&Key) -> bool) {
        let stored = self.stored(county);
        for (number, (story, stored)) in iter::zip(&self.0, stored).enumerate() {
            let excused = story.given_up || story.off_disk || story.rolled_back;
            if stored == 0 && !excused && !story.keys.is_empty() {
                let told = story.keys.iter().any(|key| waits(key) || county.cause(key).is_some());
                assert!(told, "lost: {number}, once {:?}", story.keys);
            }
        }
    }

    /// When all is quiet: every record is at the county once, or counted there, or was lost with the
    /// only disk it was on, or with a county that had it from an outbox that is not in use any more.
    pub(crate) fn ends(&self, county: &County, in_use: impl Fn(OutboxId) -> bool) -> Ends {
        let mut ends = Ends::default();
        for (number, (story, stored)) in iter::zip(&self.0, self.stored(county)).enumerate() {
            if story.keys.is_empty() {
                continue;
            }
            ends.committed += 1;
            let counted = story.keys.iter().find_map(|key| county.cause(key));
            if stored == 1 {
                ends.stored += 1;
            } else if let Some(cause) = counted {
                *ends.counted.entry(cause).or_default() += 1;
            } else {
                // Two lives of one outbox: the number it had is taken, and nobody misses it.
                let taken = story.rolled_back && story.keys.iter().any(|key| county.knows(key));
                let untold = story.holders.is_empty() && (story.off_disk || story.rolled_back);
                // Its count went to the county from the outbox that this one has become.
                let left = story.rolled_back && !story.keys.iter().any(|(of, ..)| in_use(*of));
                assert!(
                    taken || untold || left,
                    "lost: {number}, known to {:?}: {:?}",
                    story.holders,
                    story.keys
                );
                let end = match story.rolled_back {
                    true => &mut ends.gone_with_county,
                    false => &mut ends.gone_with_disk,
                };
                *end += 1;
            }
        }
        ends
    }
}

impl Ends {
    pub(crate) fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.stored += other.stored;
        for (cause, count) in &other.counted {
            *self.counted.entry(cause).or_default() += count;
        }
        self.gone_with_disk += other.gone_with_disk;
        self.gone_with_county += other.gone_with_county;
    }
}
