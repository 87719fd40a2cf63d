"""What holds for every test, and for each process that one starts."""

import signal

# A shell starts what it puts into the background with SIGINT ignored, and all that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
