# Of Lambda's form for folders: folder/inner.handler.
from . import part


def handler(event, context):
    return part.VALUE
