"""The paper's experiments, on labelled data, with the code of the live loop."""
