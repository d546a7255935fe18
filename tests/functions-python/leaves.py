import sys
import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
sys.exit(7)
