//! Many rows in one statement. Every statement to SQLite crosses to its thread and every one to Postgres the network,
//! so a commit writes one statement per table. Each number of rows is a statement of its own to prepare, so few numbers
//! are used: up to [`EXACT_MAX`] rows exactly that many, beyond that pieces of 64, 16 and the rest.

/// Up to here a statement has exactly the rows at hand.
const EXACT_MAX: usize = 8;

/// Where a row may be left empty: the sizes of a padded statement.
const PADDED: [usize; 6] = [1, 2, 4, 8, 16, 64];

/// Cuts rows into few sizes, each filled up with `None` that the statement must skip: for a string of several statements,
/// whose sizes multiply.
pub(crate) fn padded<T>(rows: &[T]) -> impl Iterator<Item = impl Iterator<Item = Option<&T>>> {
    rows.chunks(64).map(|piece| {
        let size = PADDED.into_iter().find(|&size| size >= piece.len()).unwrap_or(piece.len());
        piece.iter().map(Some).chain(std::iter::repeat_with(|| None)).take(size)
    })
}

/// Cuts rows into the pieces that become one statement each.
pub(crate) fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    pieces_of(rows, &[64, 16])
}

/// The same with other sizes, the greatest first.
pub(crate) fn pieces_of<'a, T>(mut rows: &'a [T], sizes: &'static [usize]) -> impl Iterator<Item = &'a [T]> {
    std::iter::from_fn(move || {
        let fits = sizes.iter().copied().find(|&size| rows.len() >= size);
        let (piece, rest) = rows.split_at(fits.unwrap_or(rows.len().min(EXACT_MAX)));
        rows = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Cuts rows so that those of a piece hold no more than so many bytes together; a larger one is a piece of its own.
pub(crate) fn pieces_within<T>(
    mut rows: &[T],
    bytes_max: u64,
    bytes: impl Fn(&T) -> u64,
) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut sum = 0_u64;
        let fit = rows.iter().take_while(|row| {
            sum = sum.saturating_add(bytes(row));
            sum <= bytes_max
        });
        let fit = fit.count().max(1).min(rows.len());
        let (piece, rest) = rows.split_at(fit);
        rows = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_to_few_sizes() {
        for (rows, want) in [(0, &[][..]), (1, &[1]), (3, &[4]), (13, &[16]), (17, &[64]), (70, &[64, 8])] {
            let rows: Vec<usize> = (0..rows).collect();
            let sizes: Vec<usize> = padded(&rows).map(Iterator::count).collect();
            assert_eq!(sizes, want);
            assert_eq!(padded(&rows).flatten().flatten().copied().collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn large_rows_alone_and_small_ones_together() {
        for (sizes, want) in [
            (&[][..], &[][..]),
            (&[1, 8, 1], &[3]),
            (&[1, 9, 1], &[2, 1]),
            (&[30, 1, 10, u64::MAX, 10], &[1, 1, 1, 1, 1]),
        ] {
            let pieces: Vec<&[u64]> = pieces_within(sizes, 10, |bytes| *bytes).collect();
            assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), want, "{sizes:?}");
            assert_eq!(pieces.concat(), sizes);
        }
    }

    #[test]
    fn few_sizes_and_every_row() {
        for (rows, want) in [(0, &[][..]), (3, &[3]), (8, &[8]), (9, &[8, 1]), (100, &[64, 16, 16, 4])] {
            let rows: Vec<usize> = (0..rows).collect();
            assert_eq!(pieces(&rows).map(<[usize]>::len).collect::<Vec<_>>(), want);
            assert_eq!(pieces(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        }
    }
}
