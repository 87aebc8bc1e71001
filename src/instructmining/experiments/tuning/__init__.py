"""Fine-tuning on a mixture, run by run or side by side."""
