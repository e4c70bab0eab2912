"""Prints the mean and the median of the numbers on its standard input."""

import statistics
import sys

numbers = [float(word) for line in sys.stdin for word in line.split()]
if not numbers:
    sys.exit("summary: no numbers on standard input")
print(f"mean   {statistics.mean(numbers):g}")
print(f"median {statistics.median(numbers):g}")
