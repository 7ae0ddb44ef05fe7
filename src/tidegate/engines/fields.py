"""Lists the request fields that each kind of engine accepts. Any other field is refused with a 400 that names it.

The OpenAI lists follow the API reference of 2026-10 (https://platform.openai.com/docs/api-reference). The lists of vLLM,
SGLang and llama.cpp have the fields that their users rely on. They leave out fields that control the engine itself:
priorities, cache salts, slots, sessions, adapters, chat templates.
"""

from __future__ import annotations

from tidegate.types import Endpoint


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SAMPLING = _names("""
    model stream stream_options max_tokens temperature top_p n stop presence_penalty frequency_penalty logit_bias seed user
""")

OPENAI = {
    Endpoint.CHAT: _SAMPLING
    | _names("""
        messages max_completion_tokens logprobs top_logprobs tools tool_choice parallel_tool_calls functions function_call
        response_format reasoning_effort verbosity modalities audio prediction metadata store service_tier moderation
        web_search_options prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier
    """),
    Endpoint.COMPLETIONS: _SAMPLING | _names("prompt suffix logprobs echo best_of"),
    Endpoint.EMBEDDINGS: _names("model input encoding_format dimensions user"),
}

_LOCAL_SAMPLING = _names("top_k min_p ignore_eos")

_VLLM_SAMPLING = _LOCAL_SAMPLING | _names("""
    repetition_penalty length_penalty min_tokens stop_token_ids include_stop_str_in_output skip_special_tokens
    spaces_between_special_tokens truncate_prompt_tokens prompt_logprobs bad_words allowed_token_ids use_beam_search
    structured_outputs guided_json guided_regex guided_choice guided_grammar return_token_ids return_tokens_as_token_ids
    add_special_tokens
""")

VLLM = {
    Endpoint.CHAT: OPENAI[Endpoint.CHAT]
    | _VLLM_SAMPLING
    | _names(
        "echo add_generation_prompt continue_final_message documents include_reasoning thinking_token_budget"
    ),
    Endpoint.COMPLETIONS: OPENAI[Endpoint.COMPLETIONS] | _VLLM_SAMPLING | _names("response_format"),
    Endpoint.EMBEDDINGS: OPENAI[Endpoint.EMBEDDINGS] | _names("truncate_prompt_tokens add_special_tokens"),
}

_SGLANG_SAMPLING = _LOCAL_SAMPLING | _names("""
    repetition_penalty min_tokens stop_token_ids stop_regex no_stop_trim skip_special_tokens regex ebnf return_token_ids
    return_cached_tokens_details return_spec_tokens_details
""")

SGLANG = {
    Endpoint.CHAT: OPENAI[Endpoint.CHAT]
    | _SGLANG_SAMPLING
    | _names("continue_final_message separate_reasoning stream_reasoning thinking return_prompt_token_ids"),
    Endpoint.COMPLETIONS: OPENAI[Endpoint.COMPLETIONS]
    | _SGLANG_SAMPLING
    | _names("json_schema response_format"),
    Endpoint.EMBEDDINGS: OPENAI[Endpoint.EMBEDDINGS],
}

_LLAMACPP_SAMPLING = _LOCAL_SAMPLING | _names("""
    n_predict min_keep typical_p top_n_sigma xtc_probability xtc_threshold repeat_penalty repeat_last_n dynatemp_range
    dynatemp_exponent dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers mirostat
    mirostat_tau mirostat_eta adaptive_target adaptive_decay samplers n_probs post_sampling_probs grammar json_schema
    n_indent cache_prompt t_max_predict_ms timings_per_token return_progress return_tokens
""")

LLAMACPP = {
    Endpoint.CHAT: OPENAI[Endpoint.CHAT]
    | _LLAMACPP_SAMPLING
    | _names("reasoning_format reasoning_budget_tokens continue_final_message"),
    # llama.cpp would silently ignore these three.
    Endpoint.COMPLETIONS: (OPENAI[Endpoint.COMPLETIONS] | _LLAMACPP_SAMPLING) - _names("best_of suffix echo"),
    Endpoint.EMBEDDINGS: OPENAI[Endpoint.EMBEDDINGS],
}
