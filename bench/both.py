#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""both.py - files.py, then anon.py, and one verdict.

    python3 bench/both.py --build build

Options are given to both; their own help says what there is. Exit: as theirs, the
worse of the two; 130 when stopped.
"""
import sys

import anon
import files

VERDICTS = {0: "every bar is met", 1: "a bar fell short", 2: "something could not be measured"}


def main(argv):
    codes = []
    for driver in (files, anon):
        codes.append(driver.main(argv))
        if codes[-1] == 130:
            return 130
    print(f"bench: files: {VERDICTS[codes[0]]}; anonymous memory: {VERDICTS[codes[1]]}"
          + "; quick: nothing is judged" * ("--quick" in argv))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
