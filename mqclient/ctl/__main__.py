"""`python -m mqclient.ctl`: mqctl where no console script is installed."""

from mqclient.ctl import main

main()
