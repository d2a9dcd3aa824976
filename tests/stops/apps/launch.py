import subprocess
import sys

sys.exit(subprocess.call(sys.argv[1:]))
