# Prints a summary of the numbers on its standard input.
numbers <- scan("stdin", quiet = TRUE)
if (length(numbers) == 0) stop("no numbers on standard input")
print(summary(numbers))
