import threading

threading.Thread(target=threading.Event().wait).start()
raise ValueError("with a thread")
