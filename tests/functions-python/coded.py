# coding: latin-1
def handler(event, context):
    raise ValueError("ä")
