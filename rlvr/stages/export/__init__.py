"""`rlvr export`: write a finished run as a model that loads without it.

export_stage     STAGE; checks the inputs, saves, writes the card, quantizes, pushes
export_config    the recipe
merge_adapters   adapter + base -> merged weights, with a check of their logits
hub_upload       README.md from the manifests of the run and its inputs; upload, or a dry run
"""
