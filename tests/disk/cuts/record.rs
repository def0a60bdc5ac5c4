//! What a program does to its files, as strace tells it: in order, each call with its beginning and its end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The calls that change files, or bring them onto stable storage.
pub const CALLS: &str = "openat,write,pwrite64,fsync,fdatasync,ftruncate,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,?mkdir,mkdirat";

/// A call begins, or one that has begun ends.
#[derive(Debug)]
pub enum Step {
    Begins(Call),
    Ends(usize),
}

/// A call that did what it should.
#[derive(Debug)]
pub struct Call {
    /// By which its end names it.
    pub number: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// Whether what is there is cut off.
    Open(PathBuf, bool),
    /// At that place, or behind the last one.
    Write(PathBuf, Option<u64>, Vec<u8>),
    Truncate(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Folder(PathBuf),
    /// A line on stdout.
    Says(String),
}

impl What {
    /// Whether it concerns a file of one of these names.
    pub fn is_of(&self, names: &[&str]) -> bool {
        match self {
            What::Open(file, _) | What::Write(file, ..) | What::Truncate(file, _) | What::Sync(file) => {
                names.iter().any(|name| file.ends_with(name))
            }
            What::Says(_) => true,
            What::Rename(..) | What::Remove(_) | What::Folder(_) => false,
        }
    }
}

/// Reads what strace wrote with `-f -y -xx`, of the files below that folder, behind what is there already.
pub fn read(file: &Path, below: &Path, steps: &mut Vec<Step>) {
    let mut begun = HashMap::new();
    for line in BufReader::new(File::open(file).unwrap()).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if rest.starts_with("<...") {
            if let Some((number, at)) = begun.remove(thread) {
                let end = Step::Ends(number);
                // What failed did nothing.
                if rest.contains(" = -1 ") { steps[at] = end } else { steps.push(end) }
            }
            continue;
        }
        let Some(what) = what(rest, below).filter(|_| !rest.contains(" = -1 ")) else { continue };
        let number = steps.len();
        steps.push(Step::Begins(Call { number, what }));
        match rest.ends_with("<unfinished ...>") {
            true => drop(begun.insert(thread.to_owned(), (number, steps.len() - 1))),
            false => steps.push(Step::Ends(number)),
        }
    }
}

fn what(line: &str, below: &Path) -> Option<What> {
    let (call, arguments) = line.split_once('(')?;
    let (texts, last) = texts(arguments);
    let file = texts.first().map(|first| path(first)).filter(|file| file.starts_with(below));
    // Names are whole, or stand below the folder that is the argument before.
    let named =
        |at: usize| Some(path(texts.get(at - 1)?).join(path(texts.get(at)?))).filter(|to| to.starts_with(below));
    match call {
        "openat" => Some(What::Open(named(1)?, last.contains("O_TRUNC"))),
        "write" if file.is_none() => {
            let said = String::from_utf8(texts.last()?.clone()).ok()?;
            arguments.starts_with("1<").then_some(What::Says(said))
        }
        "write" => Some(What::Write(file?, None, texts.into_iter().nth(1)?)),
        "pwrite64" => {
            let at = last.rsplit(", ").next()?.split([')', ' ']).next()?.parse().ok()?;
            Some(What::Write(file?, Some(at), texts.into_iter().nth(1)?))
        }
        "ftruncate" => {
            Some(What::Truncate(file?, last.trim_start_matches(['>', ',', ' ']).split(')').next()?.parse().ok()?))
        }
        "fsync" | "fdatasync" => Some(What::Sync(file?)),
        "rename" => Some(What::Rename(file?, path(texts.get(1)?))),
        "renameat" | "renameat2" => Some(What::Rename(named(1)?, named(3)?)),
        "unlink" | "rmdir" => Some(What::Remove(file?)),
        "unlinkat" => Some(What::Remove(named(1)?)),
        "mkdir" => Some(What::Folder(file?)),
        "mkdirat" => Some(What::Folder(named(1)?)),
        _ => None,
    }
}

/// The texts among the arguments, all of them in hex, and what stands behind the last one.
fn texts(arguments: &str) -> (Vec<Vec<u8>>, &str) {
    let (mut texts, mut rest) = (Vec::new(), arguments);
    while let Some(at) = rest.find("\\x") {
        let hex = &rest[at..];
        let digits = hex.as_bytes().chunks_exact(4).take_while(|piece| piece.starts_with(b"\\x"));
        let text: Vec<u8> = digits.map(|piece| digit(piece[2]) << 4 | digit(piece[3])).collect();
        rest = &hex[4 * text.len()..];
        texts.push(text);
    }
    (texts, rest)
}

fn digit(hex: u8) -> u8 {
    (hex as char).to_digit(16).expect("a digit") as u8
}

fn path(text: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(text).into_owned())
}
