"""What tests share: builders of values, fakes of the outside, small programs."""
