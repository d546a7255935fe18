VALUE = "part"
