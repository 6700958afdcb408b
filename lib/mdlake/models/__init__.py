"""Networks, tasks and features; shards -> batches; the training loop and what it keeps in the store.

Nothing here knows Ray: `ray_tasks/` spreads these functions over workers. The parts, bottom up:

    tasks       a label expression, its loss and its measures
    features    columns -> tensors, fitted on the train split alone
    shards      a folder of Parquet files as units of work
    batches     units -> shuffled batches, a share per worker
    networks/   architectures by name
    own         a user's own network and inputs by import path; trial: whether they fit
    training    the loop, on any device, one or many workers
    sharded     a network spread over the workers
    curves      its figures for TensorBoard
    checkpoints, bundle, records    what is kept in the store, without pickle
"""
