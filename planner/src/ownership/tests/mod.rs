mod choice;
mod moves;
mod simulation;
mod wire;
mod world;
