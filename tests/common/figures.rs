//! What is said of many measurements by one figure.

/// The one in the middle.
pub fn median(figures: Vec<f64>) -> f64 {
    let middle = figures.len() / 2;
    sorted(figures)[middle]
}

/// The one that a tenth of all is as fast as; of a few it is the fastest. What else the machine does makes a time
/// longer and never shorter, so this says more of a program than the median does.
pub fn fastest_tenth(times: Vec<f64>) -> f64 {
    let tenth = times.len() / 10;
    sorted(times)[tenth]
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
}
