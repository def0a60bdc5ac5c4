//! A bit that a disk turned over, in any of the files: found and told, or it made no difference.

use std::fs;
use std::path::{Path, PathBuf};

use switchboard::tools::failure::Failure;

use super::place::Place;

/// Places of the database's file that are tried: each is a directory of its own, opened twice.
const FLIPS: usize = 30;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        match file.path().is_dir() {
            true => copy(&file.path(), &to),
            false => assert!(fs::copy(file.path(), to).is_ok()),
        }
    }
}

/// A copy of the place with one bit turned over.
fn flipped(place: &Place, file: &str, at: usize, bit: u8) -> Place {
    let damaged = Place::empty();
    copy(&place.path, &damaged.path);
    let file = damaged.path.join(file);
    let mut bytes = fs::read(&file).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(file, bytes).unwrap();
    damaged
}

/// The bytes that say something, spread over the file.
fn telling_bytes(file: &PathBuf, count: usize) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let telling: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    (0..count).map(|n| telling[n * (telling.len() - 1) / (count - 1)]).collect()
}

/// Nothing is lost without a word: what is exported is all, or the beginning, and then both commands say so.
fn check(damaged: &Place, whole: &str, where_: &str) -> bool {
    let (told, verified) = damaged.verify();
    let (text, exported) = damaged.export(&[]);
    match (verified, exported) {
        (Ok(()), Ok(())) => {
            assert_eq!(text, whole, "{where_}: {told}");
            false
        }
        (Ok(()), Err(failure)) => panic!("{where_}: verify found nothing, export {failure}"),
        (Err(_), Ok(())) => panic!("{where_}: export found nothing: {told}"),
        (Err(finding), Err(failure)) => {
            assert!(!finding.is_empty() && whole.starts_with(&text), "{where_}: {finding}");
            assert!(matches!(failure, Failure::Found(_)), "{where_}: {failure}");
            true
        }
    }
}

#[test]
fn a_bit_of_the_database_is_found_or_makes_no_difference() {
    let place = Place::of_story();
    let whole = place.exported();
    let mut found = 0;
    for volume in 1..=place.volumes().len() {
        let file = format!("log/{volume}/db");
        let flips = (FLIPS / place.volumes().len()).max(8);
        for (n, at) in telling_bytes(&place.path.join(&file), flips).into_iter().enumerate() {
            let damaged = flipped(&place, &file, at, (n % 8) as u8);
            found += u32::from(check(&damaged, &whole, &format!("{file}, bit {} of byte {at}", n % 8)));
        }
    }
    assert!(found > 0, "no bit of {FLIPS} made a difference");
}

#[test]
fn a_bit_of_the_files_beside_it_is_found_or_makes_no_difference() {
    let place = Place::of_story();
    let whole = place.exported();
    for at in telling_bytes(&place.path.join("log.json"), 6) {
        check(&flipped(&place, "log.json", at, 1), &whole, &format!("log.json, byte {at}"));
    }
    for volume in 1..place.volumes().len() {
        let file = format!("log/{volume}.json");
        for at in telling_bytes(&place.path.join(&file), 20) {
            check(&flipped(&place, &file, at, 1), &whole, &format!("{file}, byte {at}"));
        }
    }
    // A cache is believed where its mark fits, and one that is not believed does no harm.
    for at in telling_bytes(&place.path.join("cache.json"), 4) {
        let damaged = flipped(&place, "cache.json", at, 1);
        assert_eq!(damaged.exported(), whole, "cache.json, byte {at}");
        drop(damaged.verify());
    }
}
