"""One page that shows a run: verdict first, then what it looked like, then how to repeat it."""
