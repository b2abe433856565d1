"""`rlvr export`: write a finished run as a model that loads without it.

export_stage     STAGE; checks the inputs
export_config    the recipe
export_model     the run: save, write the card, quantize, push
merge_adapters   adapter + base -> merged weights, with a check of their logits
model_card       README.md from the manifests of the run and its inputs
gptq             a quantized copy
hub_upload       upload to the Hugging Face hub, or a dry run
"""
