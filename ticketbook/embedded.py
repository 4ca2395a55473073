def join(data_dir):
    return {"host": "127.0.0.1"}
