import no_such_thing


def handler(event, context):
    return 1
