"""iisignature's signatures of the paths it is given.

Runs in an environment of its own, started by ``bench_signatures``; answers in JSON on stdout.
"""

import iisignature
from signature_times import answer

if __name__ == "__main__":
    answer({"signature": iisignature.sig})
