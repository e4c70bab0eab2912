//! Prints the mean and the median of the numbers on its standard input.

use std::{error::Error, io};

fn main() -> Result<(), Box<dyn Error>> {
    let text = io::read_to_string(io::stdin())?;
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    let mut numbers = numbers?;
    if numbers.is_empty() {
        return Err("no numbers on standard input".into());
    }
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let median = if numbers.len() % 2 == 1 {
        numbers[middle]
    } else {
        (numbers[middle - 1] + numbers[middle]) / 2.0
    };
    println!("mean   {}", numbers.iter().sum::<f64>() / numbers.len() as f64);
    println!("median {median}");
    Ok(())
}
