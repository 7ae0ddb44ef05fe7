"""Sentences that many system prompts have, and that answers have for reasons of their own. They give nothing away."""

from __future__ import annotations

from typing import Final

STOCK: Final = """
You are a helpful assistant. You are a helpful AI assistant. I am a helpful assistant. You are a friendly and helpful
assistant. You are a helpful, harmless and honest assistant. You are a helpful, respectful and honest assistant. You
are a large language model. I am a large language model trained by. You are an AI assistant that helps people find
information. If you don't know the answer, just say that you don't know, don't try to make up an answer. If you do not
know the answer to a question, please don't share false information. If you do not know the answer, say that you do
not know. If you are not sure about the answer, say so. Use the following pieces of context to answer the question at
the end. Answer the question based only on the following context. Answer the question as truthfully as possible using
the provided text. Please provide as much detail as possible. Please let me know if you have any questions. Let me
know if you need anything else. Feel free to ask if you have any other questions. How can I help you today? I am here
to help you with any questions you may have. Is there anything else I can help you with? Thank you for your patience
and understanding. Think step by step. This is not a substitute for professional medical advice, diagnosis or
treatment. Please consult a doctor or another qualified health professional. This does not constitute financial
advice. This does not constitute legal advice. The quick brown fox jumps over the lazy dog. Lorem ipsum dolor sit
amet, consectetur adipiscing elit.
"""
