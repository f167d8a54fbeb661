//! Medians, and how sure a median is.

/// The middle one; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Bounds between which the median of what was sampled lies with at least 95 % certainty (the sign test turned round: no
/// assumption on how values are spread). `None` with fewer than six.
pub(crate) fn bounds(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // The most values that may be cut off at each end, so that both tails together have at most 5 %.
    let (mut probability, mut tail, mut cut) = (0.5_f64.powi(i32::try_from(n).ok()?), 0.0, 0);
    for k in 0..n {
        tail += probability;
        if 2.0 * tail > 0.05 {
            break;
        }
        cut = k + 1;
        probability = probability * (n - k) as f64 / (k + 1) as f64;
    }
    (cut > 0).then(|| (sorted[cut - 1], sorted[n - cut]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_tables() {
        let values = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        assert_eq!(bounds(&values(5)), None);
        assert_eq!(bounds(&values(6)), Some((1.0, 6.0)));
        assert_eq!(bounds(&values(15)), Some((4.0, 12.0)));
        assert_eq!(bounds(&values(25)), Some((8.0, 18.0)));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two() {
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
        assert!((median(&[9.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
