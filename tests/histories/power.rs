//! Power cuts: the service under load is stopped at a random moment, and what had reached the disk by then is looked at.
//!
//! Everything that was answered before must be there, the log must verify, and a start on it must serve the same, also
//! without the cache. Needs to mount a file system: `tests/run power`, or `SWITCHBOARD_TEST_CUTS` for more than a few.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::checker::{self, Tally};
use crate::clients::Clients;
use crate::disk::{Disk, path, run};
use crate::from_environment;
use crate::history::{Operation, Said};
use crate::log::{self, CONFIG, Decision};
use crate::nemesis::work;
use crate::process::{exit, signal};
use crate::progress::Progress;
use crate::random::Random;
use crate::reads::shows;
use crate::rejections;
use crate::site::{Site, ask, output, program};
use crate::timeline::Timeline;
use crate::wire::{self, Breaks, Heard};

/// Cuts on one disk, after which a new one begins: histories are held against logs whole.
const CUTS_ON_ONE_DISK: u64 = 10;
/// What is prefixed to the subjects of a service on what was cut.
const PREFIX: &str = "cut";

/// When the power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    UnderLoad,
    AtAStart,
    AtAnImport,
}

const MOMENTS: [Moment; 5] =
    [Moment::UnderLoad, Moment::AtAStart, Moment::UnderLoad, Moment::AtAnImport, Moment::UnderLoad];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts a file system: tests/run power"]
async fn what_was_answered_is_there_after_a_power_cut() {
    let cuts = from_environment("SWITCHBOARD_TEST_CUTS").unwrap_or(5);
    let seed = from_environment("SWITCHBOARD_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let (mut random, progress) = (Random(seed), Progress::new());
    let mut counted = BTreeMap::new();
    let mut left = cuts;
    while left > 0 {
        let directory = tempfile::tempdir().unwrap();
        let disk = match Disk::new(directory.path()) {
            Ok(disk) => disk,
            Err(why) => return println!("skipped: no file system can be mounted here: {why}"),
        };
        let count = left.min(CUTS_ON_ONE_DISK);
        let mut place = Place::new(disk, random.next()).await;
        for number in 0..count {
            let moment = MOMENTS[((cuts - left + number) % MOMENTS.len() as u64) as usize];
            place.cut(moment, &mut random).await;
            *counted.entry(moment).or_insert(0) += 1;
        }
        left -= count;
        place.end().await;
    }
    progress.end(&format!("{cuts} power cuts, {counted:?}: nothing lost"));
}

/// A service on a disk of its own, and its clients.
struct Place {
    clients: Clients,
    site: Site,
    connections: usize,
    cuts: usize,
    disk: Disk,
}

impl Place {
    async fn new(disk: Disk, seed: u64) -> Place {
        let site = Site::new(false, Some(disk.folder().join("data"))).await;
        let clients = Clients::start(&site, seed, 40).await;
        Place { clients, site, connections: 1, cuts: 0, disk }
    }

    async fn cut(&mut self, moment: Moment, random: &mut Random) {
        work(&mut self.site, &self.clients, random).await;
        match moment {
            Moment::UnderLoad => {}
            Moment::AtAStart => {
                self.site.kill();
                self.site.launch();
                self.connections += 1;
                sleep(Duration::from_millis(random.below(120))).await;
            }
            Moment::AtAnImport => return self.cut_an_import(random).await,
        }
        self.clients.heard_until_now().await;
        self.site.signal("STOP");
        // What was sent before comes in, and nothing else does.
        sleep(Duration::from_millis(50)).await;
        let (operations, heard) = (self.clients.operations(), self.clients.wire().heard());
        let cut = self.disk.cut();
        self.site.signal("CONT");
        let found = self.examine(&cut, &operations, &heard).await;
        let tally = found.unwrap_or_else(|what| panic!("{moment:?}: {what}\n{}", self.site.log()));
        println!(
            "{moment:?}: {} decisions, {} requests, {} unanswered",
            tally.decisions, tally.requests, tally.unknown
        );
    }

    /// Holds what was cut against what had been answered.
    async fn examine(&mut self, cut: &Disk, operations: &[Operation], heard: &Heard) -> Result<Tally, String> {
        let data = cut.folder().join("data");
        forget_this_boot(&data);
        let log = log::read(&output(&["export"], &data)?);
        let (completed, _) = rejections::check(operations, &log, &heard.rejections, &heard.spans)?;
        let tally = checker::check(&completed, &log)?;
        wire::check(heard, &log, Breaks { connections: self.connections, outages: 1 })?;
        self.cuts += 1;
        let spoiled = match self.cuts % 2 {
            0 => copied(&data, |cache| std::fs::remove_dir_all(cache).unwrap()),
            _ => copied(&data, emptied),
        };
        let variants = [spoiled, data];
        for variant in variants {
            output(&["verify"], &variant)?;
            self.serve(&variant, &log).await.map_err(|what| format!("{}: {what}", variant.display()))?;
        }
        Ok(tally)
    }

    /// Starts a service on what was cut: it shows every conversation as the log has it.
    async fn serve(&mut self, data: &Path, log: &[Decision]) -> Result<(), String> {
        let timeline = Timeline::of(log)?;
        let mut service = Served(self.site.serve(data, PREFIX).spawn().expect("the program runs"));
        let client = self.site.connect().await;
        self.site.answering_on(&client, PREFIX).await;
        let ids: BTreeSet<&str> = log.iter().map(|decision| decision.conversation.as_str()).collect();
        let mut wrong = Vec::new();
        for id in ids.into_iter().filter(|id| *id != CONFIG) {
            let said = Said::read(&ask(&client, &format!("{PREFIX}.query.conversation.{id}"), json!({})).await);
            let last = timeline.slots(id).last().expect("one for the unknown");
            // A timer may have had a word since.
            let is_so = said.states.first().is_some_and(|seen| seen.version > last.version || shows(last, seen));
            if !is_so {
                wrong.push(format!("expected {last:?}, got {:?}", said.states));
            }
        }
        signal(service.0.id(), "TERM");
        let status = exit(&mut service.0).await;
        match (wrong.is_empty(), status.code()) {
            (true, Some(0)) => output(&["verify"], data).map(drop),
            (_, code) => Err(format!("ended with {code:?}: {}", wrong.join("\n"))),
        }
    }

    /// Cuts the power at an import: what was imported is whole, or nothing takes it for a log.
    async fn cut_an_import(&mut self, random: &mut Random) {
        assert_eq!(self.site.stop().await.code(), Some(0), "{}", self.site.log());
        let export = output(&["export"], &self.site.data).unwrap();
        self.site.launch();
        self.connections += 1;
        let data = self.disk.folder().join("imported");
        let (mut import, feeding) = import(&data, export.clone());
        // Sometimes it is over, and has said so.
        let is_over = random.is(30);
        match is_over {
            true => assert_eq!(exit(&mut import).await.code(), Some(0), "the import ends well"),
            false => sleep(Duration::from_millis(random.below(300))).await,
        }
        if !is_over {
            signal(import.id(), "STOP");
        }
        let is_done = import.try_wait().unwrap().is_some_and(|status| status.success());
        let cut = self.disk.cut();
        if !is_done {
            signal(import.id(), "CONT");
        }
        let imported = cut.folder().join("imported");
        match imported.join("switchboard.json").exists() {
            true => assert_eq!(output(&["export"], &imported), Ok(export), "what counts as imported is whole"),
            false => {
                assert!(!is_done, "the import has ended, and is not on the disk");
                self.refuses(&imported).await;
            }
        }
        println!(
            "{:?}: {}",
            Moment::AtAnImport,
            if imported.join("switchboard.json").exists() { "whole" } else { "nothing" }
        );
        import.wait().unwrap();
        let _ = feeding.join();
        std::fs::remove_dir_all(&data).unwrap();
    }

    /// Half an import is not served. Before its mark is on the disk nothing of it is.
    async fn refuses(&mut self, data: &Path) {
        if !data.join("switchboard.json.import").exists() {
            let entries = std::fs::read_dir(data).into_iter().flatten();
            let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            let is_nothing = names.iter().all(|name| name == "switchboard.json.tmp");
            return assert!(is_nothing, "there is no mark of an import beside {names:?}");
        }
        let mut service = Served(self.site.serve(data, PREFIX).spawn().expect("the program runs"));
        let status = exit(&mut service.0).await;
        assert_eq!(status.code(), Some(1), "half an import is refused:\n{}", self.site.log());
    }

    async fn end(mut self) {
        self.clients.stop().await;
        self.site.answering().await;
        assert_eq!(self.site.stop().await.code(), Some(0), "{}", self.site.log());
    }
}

/// A service on what was cut, which never outlives its test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn import(data: &Path, export: String) -> (Child, std::thread::JoinHandle<()>) {
    let mut import = program(&["import"]);
    import.arg("--data").arg(data).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut import = import.spawn().expect("the program runs");
    let mut input = import.stdin.take().expect("a pipe");
    let feeding = std::thread::spawn(move || drop(input.write_all(export.as_bytes())));
    (import, feeding)
}

/// After a power cut the machine was started again, by which the cache is known not to be trusted.
fn forget_this_boot(data: &Path) {
    let file = data.join("cache.json");
    let Ok(text) = std::fs::read_to_string(&file) else { return };
    let Ok(mut trust) = serde_json::from_str::<Value>(&text) else { return };
    trust["boot_id"] = json!("another");
    std::fs::write(&file, trust.to_string()).unwrap();
}

/// A copy of a data directory, with something done to its cache.
fn copied(data: &Path, spoil: impl Fn(&Path)) -> PathBuf {
    let copy = data.with_file_name("spoiled");
    run("cp", &["-r", "--sparse=always", path(data), path(&copy)]).expect("it is copied");
    if copy.join("cache").exists() {
        spoil(&copy.join("cache"));
    }
    copy
}

fn emptied(cache: &Path) {
    run("find", &[path(cache), "-type", "f", "-exec", "truncate", "-s", "0", "{}", "+"])
        .expect("its files are emptied");
}
