"""Let transformers read a .gguf file by itself."""

import transformers
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint


def transformers_reads(path):
    """What transformers makes of a GGUF file. Its from_pretrained does this too, but wants one more package."""
    config = transformers.LlamaConfig(**load_gguf_checkpoint(str(path))["config"])
    model = transformers.LlamaForCausalLM(config)
    tensors = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}  # which is tied
    return model.eval()
