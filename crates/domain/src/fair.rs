//! Shares of something scarce: who wants little gets all of it, who wants much gets what is left, in equal parts.

/// How much of `room` each of `wanted` gets. No share is larger than what was wanted, the sum is the smaller of the room and
/// of all that was wanted, and nobody gets less than another who wanted no more (but for one, which cannot be halved).
#[must_use]
pub fn shares(wanted: &[usize], room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&i| wanted.get(i).copied().unwrap_or(0));
    let mut shares = vec![0; wanted.len()];
    let (mut left, mut others) = (room, wanted.len());
    for i in order {
        let (want, equal) = (wanted.get(i).copied().unwrap_or(0), left.checked_div(others).unwrap_or(0));
        let share = want.min(equal);
        if let Some(slot) = shares.get_mut(i) {
            *slot = share;
        }
        left -= share;
        others -= 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_quiet_are_heard() {
        for (wanted, room, want) in [
            (&[100_000, 3, 1][..], 40, vec![36, 3, 1]),
            (&[10, 10, 10], 40, vec![10, 10, 10]),
            (&[50, 50, 50], 40, vec![13, 13, 14]),
            (&[5], 0, vec![0]),
            (&[], 40, vec![]),
        ] {
            assert_eq!(shares(wanted, room), want, "{wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nobody_starves(wanted in prop::collection::vec(0_usize..500, 0..30), room in 0_usize..2_000) {
            let given = shares(&wanted, room);
            prop_assert_eq!(given.iter().sum::<usize>(), room.min(wanted.iter().sum()));
            for (i, (share, want)) in given.iter().zip(&wanted).enumerate() {
                prop_assert!(share <= want);
                for (other, more) in given.iter().zip(&wanted) {
                    prop_assert!(want > more || *share <= other + 1, "{} {:?} {:?}", i, wanted, given);
                }
                // A fair part at least, or all that was wanted.
                prop_assert!(*share >= (*want).min(room / wanted.len().max(1)));
            }
        }
    }
}
