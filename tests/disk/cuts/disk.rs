//! A disk with a cache of its own: what a sync covered is there, of anything else any part.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::record::{Call, Step, What};
use crate::random::Dice;

/// What the system writes whole, for the most part; and the disk, for sure.
const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// The files of one folder, as the program sees them, and what of them is on the disk for sure.
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    seen: BTreeMap<PathBuf, usize>,
    /// Calls that have begun: their node and, of a sync, what it covers.
    begun: HashMap<usize, (usize, Vec<usize>)>,
}

enum Node {
    File { sure: Vec<u8>, end: u64, pending: Vec<Pending<Change>> },
    Folder { sure: BTreeMap<String, usize>, pending: Vec<Pending<Entry>> },
}

struct Pending<T> {
    call: usize,
    is_over: bool,
    change: T,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

enum Entry {
    Made(String, usize),
    Renamed(String, String),
    Removed(String),
}

impl Disk {
    pub fn new(root: &Path) -> Disk {
        let top = Node::Folder { sure: BTreeMap::new(), pending: Vec::new() };
        let seen = BTreeMap::from([(root.to_path_buf(), 0)]);
        Disk { root: root.to_path_buf(), nodes: vec![top], seen, begun: HashMap::new() }
    }

    /// What the program does next.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Begins(call) => self.begin(call),
            Step::Ends(call) => self.end(*call),
        }
    }

    /// Bytes that were written to a file and that no sync covers, but for zeros, by which a segment is free.
    pub fn unsynced(&self, file: &Path) -> usize {
        let Some(Node::File { pending, .. }) = self.seen.get(file).map(|node| &self.nodes[*node]) else { return 0 };
        let is_something = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        let written = pending.iter().map(|one| match &one.change {
            Change::Write(_, bytes) if is_something(bytes) => bytes.len(),
            _ => 0,
        });
        written.sum()
    }

    fn begin(&mut self, Call { number, what }: &Call) {
        let call = *number;
        match what {
            What::Open(path, _) if !self.seen.contains_key(path) => {
                self.make(call, path, Node::File { sure: Vec::new(), end: 0, pending: Vec::new() });
            }
            What::Folder(path) if *path != self.root => {
                self.make(call, path, Node::Folder { sure: BTreeMap::new(), pending: Vec::new() });
            }
            What::Write(path, at, bytes) => self.change(call, path, |end| {
                let at = at.unwrap_or(*end);
                *end = (*end).max(at + bytes.len() as u64);
                Change::Write(at as usize, bytes.clone())
            }),
            What::Truncate(path, length) => self.change(call, path, |end| {
                *end = *length;
                Change::Truncate(*length as usize)
            }),
            What::Sync(path) => {
                let node = self.seen[path];
                self.begun.insert(call, (node, self.nodes[node].over()));
            }
            What::Rename(from, to) => {
                assert_eq!(from.parent(), to.parent(), "expected renames within a folder");
                self.enter(call, from, Entry::Renamed(name(from), name(to)));
                let moved: Vec<_> = self.seen.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in moved {
                    let node = self.seen.remove(&path).expect("it was there");
                    let within = path.strip_prefix(from).expect("it begins so");
                    self.seen.insert(if within == Path::new("") { to.clone() } else { to.join(within) }, node);
                }
            }
            What::Remove(path) => {
                self.enter(call, path, Entry::Removed(name(path)));
                self.seen.remove(path);
            }
            What::Open(path, true) => self.change(call, path, |end| {
                *end = 0;
                Change::Truncate(0)
            }),
            What::Open(..) | What::Folder(_) | What::Says(_) => {}
        }
    }

    fn make(&mut self, call: usize, path: &Path, node: Node) {
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        self.seen.insert(path.to_path_buf(), node);
        self.enter(call, path, Entry::Made(name(path), node));
    }

    fn enter(&mut self, call: usize, path: &Path, change: Entry) {
        let folder = self.seen[path.parent().expect("it stands in a folder")];
        self.begun.insert(call, (folder, Vec::new()));
        if let Node::Folder { pending, .. } = &mut self.nodes[folder] {
            pending.push(Pending { call, is_over: false, change });
        }
    }

    fn change(&mut self, call: usize, path: &Path, change: impl FnOnce(&mut u64) -> Change) {
        let node = self.seen[path];
        self.begun.insert(call, (node, Vec::new()));
        if let Node::File { end, pending, .. } = &mut self.nodes[node] {
            pending.push(Pending { call, is_over: false, change: change(end) });
        }
    }

    fn end(&mut self, call: usize) {
        let Some((node, covered)) = self.begun.remove(&call) else { return };
        match &mut self.nodes[node] {
            Node::File { sure, pending, .. } => {
                settle(call, &covered, pending, |change| change.make(sure, |_| true));
            }
            Node::Folder { sure, pending } => settle(call, &covered, pending, |entry| entry.make(sure)),
        }
    }

    /// What the disk may hold when the power fails now, written to that place.
    pub fn cut(&self, dice: &mut Dice, to: &Path) {
        self.write(0, dice, to);
    }

    fn write(&self, node: usize, dice: &mut Dice, to: &Path) {
        match &self.nodes[node] {
            Node::File { sure, pending, .. } => fs::write(to, left(sure, pending, dice)).unwrap(),
            Node::Folder { sure, pending } => {
                fs::create_dir(to).unwrap();
                let mut entries = sure.clone();
                let kept = dice.below(pending.len() as u64 + 1) as usize;
                pending[..kept].iter().for_each(|one| one.change.make(&mut entries));
                entries.iter().for_each(|(name, node)| self.write(*node, dice, &to.join(name)));
            }
        }
    }
}

impl Node {
    /// The calls that changed it and are over: what a sync that begins now covers.
    fn over(&self) -> Vec<usize> {
        fn of<T>(pending: &[Pending<T>]) -> Vec<usize> {
            pending.iter().filter(|one| one.is_over).map(|one| one.call).collect()
        }
        match self {
            Node::File { pending, .. } => of(pending),
            Node::Folder { pending, .. } => of(pending),
        }
    }
}

/// A call is over: a change that may be synced from now on, or a sync of those covered.
fn settle<T>(call: usize, covered: &[usize], pending: &mut Vec<Pending<T>>, mut make: impl FnMut(&T)) {
    if let Some(changed) = pending.iter_mut().rfind(|one| one.call == call) {
        changed.is_over = true;
    } else {
        pending.extract_if(.., |one| covered.contains(&one.call)).for_each(|one| make(&one.change));
    }
}

impl Change {
    /// Makes it where it is kept, unit by unit.
    fn make(&self, bytes: &mut Vec<u8>, is_kept: impl Fn(usize) -> bool) {
        match self {
            Change::Truncate(length) => bytes.resize(*length, 0),
            Change::Write(at, written) => {
                bytes.resize(bytes.len().max(at + written.len()), 0);
                for from in units(*at, written.len()) {
                    let (from, to) = (from.max(*at), (from + SECTOR).min(at + written.len()));
                    if is_kept(from / SECTOR) {
                        bytes[from..to].copy_from_slice(&written[from - at..to - at]);
                    }
                }
            }
        }
    }
}

impl Entry {
    fn make(&self, entries: &mut BTreeMap<String, usize>) {
        match self {
            Entry::Made(name, node) => drop(entries.insert(name.clone(), *node)),
            Entry::Removed(name) => drop(entries.remove(name)),
            Entry::Renamed(from, to) => {
                let moved = entries.remove(from);
                entries.extend(moved.map(|node| (to.clone(), node)));
            }
        }
    }
}

/// What is left of a file: of the pages written since the last sync these or those, each as it was at some moment; and the
/// length that it had at some moment.
fn left(sure: &[u8], pending: &[Pending<Change>], dice: &mut Dice) -> Vec<u8> {
    let unit = if dice.one_in(4) { 1 } else { PAGE / SECTOR };
    let touched = || {
        pending.iter().filter_map(|one| match &one.change {
            Change::Write(at, bytes) => Some(units(*at, bytes.len())),
            Change::Truncate(_) => None,
        })
    };
    let mut pages: Vec<usize> = touched().flatten().map(|from| from / SECTOR / unit).collect();
    pages.sort_unstable();
    pages.dedup();
    let kept = which(&pages, dice);
    // For the most part as it was last.
    let until: HashMap<usize, usize> = pages
        .iter()
        .filter(|page| kept.contains(page))
        .map(|page| (*page, if dice.one_in(8) { dice.below(pending.len() as u64 + 1) as usize } else { pending.len() }))
        .collect();
    let (mut bytes, mut lengths) = (sure.to_vec(), vec![sure.len()]);
    for (nth, one) in pending.iter().enumerate() {
        one.change.make(&mut bytes, |sector| until.get(&(sector / unit)).is_some_and(|until| nth < *until));
        lengths.push(bytes.len());
    }
    if dice.one_in(4) {
        bytes.resize(dice.pick(&lengths), 0);
    }
    bytes
}

/// Which of the pages are kept.
fn which(pages: &[usize], dice: &mut Dice) -> HashSet<usize> {
    let some = dice.below(pages.len() as u64 + 1) as usize;
    let chance = dice.pick(&[1, 5, 9]);
    let choice = dice.below(7);
    let kept = pages.iter().enumerate().filter(|(nth, _)| match choice {
        0 => false,
        1 => true,
        2 => *nth < some,
        3 => *nth >= some,
        4 => *nth != some,
        5 => *nth == some,
        _ => dice.below(10) < chance,
    });
    kept.map(|(_, page)| *page).collect()
}

/// Where the sectors begin that so many bytes touch.
fn units(at: usize, length: usize) -> impl Iterator<Item = usize> {
    (at / SECTOR * SECTOR..at + length).step_by(SECTOR)
}

fn name(path: &Path) -> String {
    path.file_name().expect("it has a name").to_string_lossy().into_owned()
}
