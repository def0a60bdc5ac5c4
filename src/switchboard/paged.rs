//! A list that grows at its end for as long as a conversation lives: whole pages of it are never changed again.
//!
//! So the cache keeps each page once, and with every save only the end: a conversation of a hundred thousand events costs
//! no more to keep than one of a hundred. What is no longer wanted goes at the front.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The list. Its items are numbered from 0, and keep their numbers when others go.
#[derive(Debug, Clone)]
pub struct Paged<T> {
    /// What is no whole page yet.
    tail: Vec<T>,
    /// The number of the first item of the tail.
    tail_from: u64,
    /// What stands before it: in most conversations nothing.
    before: Option<Box<Before<T>>>,
}

#[derive(Debug, Clone)]
struct Before<T> {
    /// The pages right before the tail; the first may have begun in its middle.
    pages: VecDeque<Arc<[T]>>,
    /// The first item that is still wanted.
    from: u64,
    /// Pages below that number are in the cache.
    kept: u64,
    /// Items of a page.
    page_items: u64,
}

/// What stands in the cache beside the pages.
#[derive(Debug, Serialize, Deserialize)]
pub struct End<L> {
    from: u64,
    tail_from: u64,
    tail: L,
}

/// What a page is made of: as many bytes for each.
pub trait Item: Copy {
    /// How many bytes it takes.
    const BYTES: usize;
    /// Adds its bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads it; none where the bytes are not one.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Item for u64 {
    const BYTES: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

impl<T> Default for Paged<T> {
    fn default() -> Paged<T> {
        Paged { tail: Vec::new(), tail_from: 0, before: None }
    }
}

impl<T: Item> Paged<T> {
    /// Adds an item, and gives its number. A list keeps to one size of its pages.
    pub fn push(&mut self, item: T, page_items: u64) -> u64 {
        let number = self.tail_from + self.tail.len() as u64;
        self.tail.push(item);
        if (number + 1).is_multiple_of(page_items) {
            self.turn(page_items);
        }
        number
    }

    /// The tail becomes a page.
    fn turn(&mut self, page_items: u64) {
        let (page, from) = (self.tail_from / page_items, self.from());
        let new = || Box::new(Before { pages: VecDeque::new(), from, kept: page, page_items });
        let before = self.before.get_or_insert_with(new);
        before.from = from;
        before.pages.push_back(std::mem::take(&mut self.tail).into());
        self.tail_from = (page + 1) * page_items;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.tail_from + self.tail.len() as u64 - self.from()
    }

    /// The item of that number.
    pub fn get(&self, number: u64) -> Option<&T> {
        if let Some(at) = number.checked_sub(self.tail_from) {
            return self.tail.get(at as usize);
        }
        let before = self.before.as_ref().filter(|before| number >= before.from)?;
        let items = before.page_items;
        let page = before.pages.get((number / items).checked_sub(self.first_page())? as usize)?;
        page.get(page.len().checked_sub((items - number % items) as usize)?)
    }

    /// The last item.
    pub fn last(&self) -> Option<&T> {
        self.tail.last().or_else(|| self.before.as_ref()?.pages.back()?.last())
    }

    /// The items in order, with their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        (self.from()..self.tail_from + self.tail.len() as u64).filter_map(|number| Some((number, self.get(number)?)))
    }

    /// Drops items at the front as long as they are unwanted, and tells of each.
    pub fn drop_while(&mut self, is_unwanted: impl Fn(&T) -> bool, mut dropped: impl FnMut(u64, &T)) {
        let mut from = self.from();
        while let Some(item) = self.get(from).filter(|item| is_unwanted(item)) {
            dropped(from, item);
            from += 1;
        }
        let first_page = self.first_page();
        if let Some(before) = &mut self.before {
            let unwanted = (from / before.page_items - first_page).min(before.pages.len() as u64);
            before.pages.drain(..unwanted as usize);
            before.from = from;
        }
        let in_tail = from.saturating_sub(self.tail_from);
        self.tail.drain(..in_tail as usize);
        self.tail_from += in_tail;
    }

    /// Whether whole pages stand before the end.
    pub fn has_pages(&self) -> bool {
        self.before.as_ref().is_some_and(|before| !before.pages.is_empty())
    }

    /// All whole pages with their numbers, as the cache keeps them.
    pub fn pages(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let pages = self.before.iter().flat_map(|before| &before.pages);
        (self.first_page()..).zip(pages).map(|(number, page)| (number, written(page)))
    }

    /// The pages that the cache has not got; it has them after this.
    pub fn to_keep(&mut self) -> Vec<(u64, Vec<u8>)> {
        let Some(before) = &mut self.before else { return Vec::new() };
        let next = self.tail_from / before.page_items;
        let kept = std::mem::replace(&mut before.kept, next);
        // Those that are kept already are passed over without being written out.
        let first = next - before.pages.len() as u64;
        let new = before.pages.iter().skip(kept.saturating_sub(first) as usize);
        (kept.max(first)..).zip(new).map(|(number, page)| (number, written(page))).collect()
    }

    /// What stands in the cache beside the pages.
    pub fn end(&self) -> End<&[T]> {
        End { from: self.from(), tail_from: self.tail_from, tail: &self.tail }
    }

    /// The list again, of its end and of the pages that `page` finds.
    pub fn restored(
        end: End<Vec<T>>,
        page_items: u64,
        page: impl Fn(u64) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let End { from, tail_from, tail } = end;
        if from == tail_from {
            return Ok(Paged { tail, tail_from, before: None });
        }
        let next = tail_from / page_items;
        let read = |number| read(&page(number)?).ok_or_else(|| format!("page {number} does not read"));
        let pages = (from / page_items..next).map(read).collect::<Result<VecDeque<_>, String>>()?;
        Ok(Paged { tail, tail_from, before: Some(Box::new(Before { pages, from, kept: next, page_items })) })
    }

    /// The number of the first item, and the one after the last.
    pub fn numbers(&self) -> (u64, u64) {
        (self.from(), self.tail_from + self.tail.len() as u64)
    }

    /// The number of the first item.
    fn from(&self) -> u64 {
        self.before.as_ref().filter(|before| !before.pages.is_empty()).map_or(self.tail_from, |before| before.from)
    }

    fn first_page(&self) -> u64 {
        self.before.as_ref().map_or(0, |before| self.tail_from / before.page_items - before.pages.len() as u64)
    }
}

fn written<T: Item>(page: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(page.len() * T::BYTES);
    page.iter().for_each(|item| item.write(&mut bytes));
    bytes
}

fn read<T: Item>(bytes: &[u8]) -> Option<Arc<[T]>> {
    bytes.chunks(T::BYTES).map(T::read).collect()
}

impl Paged<u64> {
    /// The numbers as they are now, to be looked through elsewhere: the pages are shared.
    pub fn snapshot(&self) -> Ascending {
        let pages = self.before.iter().flat_map(|before| before.pages.iter().cloned());
        Ascending(pages.chain([self.tail.as_slice().into()]).collect())
    }
}

/// Ascending numbers, in pieces. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ascending(Arc<[Arc<[u64]>]>);

impl Ascending {
    /// Those that are not below `least`.
    pub fn from(&self, least: u64) -> impl Iterator<Item = u64> {
        let passed = self.0.partition_point(|piece| piece.last().is_some_and(|last| *last < least));
        self.0[passed..].iter().flat_map(|piece| piece.iter().copied()).skip_while(move |number| *number < least)
    }
}

impl FromIterator<u64> for Ascending {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Ascending {
        Ascending(Arc::from([numbers.into_iter().collect()]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const PAGE_ITEMS: u64 = 256;

    type Kept = HashMap<u64, Vec<u8>>;

    fn again(list: &mut Paged<u64>, kept: &mut Kept) -> Paged<u64> {
        kept.extend(list.to_keep());
        let end = serde_json::to_vec(&list.end()).unwrap();
        let page = |number| kept.get(&number).cloned().ok_or(format!("page {number} is missing"));
        Paged::restored(serde_json::from_slice(&end).unwrap(), PAGE_ITEMS, page).unwrap()
    }

    fn items(list: &Paged<u64>) -> Vec<(u64, u64)> {
        list.iter().map(|(number, item)| (number, *item)).collect()
    }

    /// Every length and every front up to three pages, kept at every one of some moments.
    #[test]
    fn a_list_read_back_is_the_list_that_was_kept() {
        for dropped in [0, 1, 255, 256, 257, 511, 512, 600] {
            let (mut list, mut kept) = (Paged::default(), Kept::new());
            for number in 0..800 {
                assert_eq!(list.push(number * 10, PAGE_ITEMS), number);
                if number % 97 == 0 {
                    list = again(&mut list, &mut kept);
                }
                let least = dropped.min(number) * 10;
                let mut told = Vec::new();
                list.drop_while(|item| *item < least, |at, item| told.push((at, *item)));
                let expected: Vec<(u64, u64)> = (dropped.min(number)..=number).map(|at| (at, at * 10)).collect();
                assert_eq!(items(&list), expected, "{number} after {dropped}");
                assert_eq!((list.count(), list.last()), (expected.len() as u64, Some(&(number * 10))));
                assert!(told.iter().all(|(at, item)| at * 10 == *item && *item < least));
            }
            assert_eq!(items(&again(&mut list, &mut kept)), items(&list));
        }
    }

    #[test]
    fn a_page_is_kept_once() {
        let mut list = Paged::default();
        let mut kept = Vec::new();
        for number in 0..1000 {
            list.push(number, PAGE_ITEMS);
            kept.extend(list.to_keep().into_iter().map(|(page, _)| page));
            assert!(serde_json::to_vec(&list.end()).unwrap().len() < 8 * PAGE_ITEMS as usize);
        }
        assert_eq!(kept, [0, 1, 2]);
    }

    #[test]
    fn a_missing_page_is_a_fault_and_no_shorter_list() {
        let mut list: Paged<u64> = (0..600).fold(Paged::default(), |mut list, number| {
            list.push(number, PAGE_ITEMS);
            list
        });
        let mut kept: Kept = list.to_keep().into_iter().collect();
        kept.remove(&1);
        let page = |number| kept.get(&number).cloned().ok_or(format!("page {number} is missing"));
        let end: End<Vec<u64>> = serde_json::from_slice(&serde_json::to_vec(&list.end()).unwrap()).unwrap();
        assert_eq!(Paged::restored(end, PAGE_ITEMS, page).unwrap_err(), "page 1 is missing");
    }

    #[test]
    fn a_snapshot_begins_where_it_is_asked_to() {
        let mut list = Paged::default();
        for number in 0..700 {
            list.push(number * 2, PAGE_ITEMS);
        }
        for least in [0, 1, 2, 510, 511, 512, 513, 1023, 1024, 1398, 1399, 5000] {
            let found: Vec<u64> = list.snapshot().from(least).collect();
            let expected: Vec<u64> = (0..700).map(|number| number * 2).filter(|number| *number >= least).collect();
            assert_eq!(found, expected, "from {least}");
        }
    }
}
