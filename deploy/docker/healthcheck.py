"""Whether the gateway in this container answers; for Docker, which asks every half minute."""

import sys
import urllib.request

if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "8080"
    with urllib.request.urlopen(f"http://localhost:{port}/healthz", timeout=5) as answer:
        sys.exit(0 if answer.status == 200 else 1)
