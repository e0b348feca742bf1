"""The four stages (encode, mine, score, report) and the encoders they use."""
